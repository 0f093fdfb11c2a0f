"""Properties of a backbone that are found by running it on one small image."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

# Side of the image; every usual backbone has a place left at stride 32.
SIDE = 64


def probe_image(body: nn.Module) -> Tensor:
    """An image [1, 3, H, W] where the backbone's weights are, of 64 pixels or of its own ``probe_size`` (H, W)."""
    height, width = getattr(body, 'probe_size', (SIDE, SIDE))
    weight = next(body.parameters(), None)
    options = dict(dtype=torch.float32) if weight is None else dict(device=weight.device, dtype=weight.dtype)
    count = 3 * height * width
    return (torch.arange(count, **options) / count * 2 - 1).view(1, 3, height, width)


def freeze_unused(body: nn.Module) -> None:
    """Do not train the parameters on which no map of the backbone depends: DDP would wait for their gradients."""
    training = body.training
    body.eval()
    with torch.enable_grad():
        reached = parameters_behind(body(probe_image(body)))
    body.train(training)
    for parameter in body.parameters():
        if id(parameter) not in reached:
            parameter.requires_grad_(False)


def parameters_behind(outputs: Iterable[Tensor]) -> set[int]:
    """The ``id`` of every parameter on which the outputs depend, from autograd's graph."""
    found, seen = set(), set()
    nodes = [output.grad_fn for output in outputs]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, 'variable'):
            found.add(id(node.variable))
        nodes.extend(following for following, _ in node.next_functions)
    return found
