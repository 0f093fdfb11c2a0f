"""Record the gates of QD-ATT (or the outputs of other modules) during a forward pass, by forward hooks."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mmuniqrnet.structures import Placement
from mmuniqrnet.utils.errors import UserError

from .layers import ChannelGate, SpatialGate


@contextmanager
def record_gates(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Record the gates of every forward pass within the block; the hooks are removed at its end.

    ::

        with record_gates(model) as recorded:
            model.test_step(batch)
        maps = gate_maps(recorded, model.data_preprocessor.canvas_size)

    Yields:
        Name of the gate's module -> its output in the last forward pass, on the CPU, detached: channel gates [B, 1, C]
        (such as ``backbone.gates.0.channel``) and spatial gates [B, N, 1] (``backbone.gates.0.spatial``), in 0..1.

    Raises:
        ValueError: The model has no such module.
    """
    with record_outputs(model, ChannelGate, SpatialGate) as recorded:
        yield recorded


@contextmanager
def record_outputs(model: nn.Module, *kinds: type[nn.Module]) -> Iterator[dict[str, Tensor]]:
    """The same for modules of any kind, such as ``QueryDynamicAttention``, whose output is the gated tokens [B, N, C].

    Raises:
        ValueError: The model has no module of these kinds.
    """
    model = model.module if is_model_wrapper(model) else model
    modules = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    if not modules:
        raise UserError(
            f'{type(model).__name__} has no {" or ".join(kind.__name__ for kind in kinds)}: its backbone and neck are '
            'text-agnostic, or their gates are switched off'
        )
    recorded: dict[str, Tensor] = {}

    def recorder(name: str) -> Callable[[nn.Module, tuple, Any], None]:
        def hook(_module: nn.Module, _inputs: tuple, output: Tensor | tuple[Tensor, Tensor]) -> None:
            tokens = output[0] if isinstance(output, tuple) else output  # a gate with a twin: what the next stage sees
            recorded[name] = tokens.detach().float().cpu()

        return hook

    handles = [module.register_forward_hook(recorder(name)) for name, module in modules.items()]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def record_gate_scores(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Record the scores of the spatial gates in the forward pass within the block, with their gradient, for a loss.

    Yields:
        ``backbone{i}`` or ``neck{i}`` -> the scores [B, N, 1], from which the gate is the sigmoid, of the spatial gate
        of the backbone's or the neck's map i. A stage of which the backbone returns no map (``out_indices``) has none.
    """
    stages = getattr(getattr(model, 'backbone', None), 'out_indices', None)
    recorded: dict[str, Tensor] = {}

    def recorder(name: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            recorded[name] = output

        return hook

    handles = []
    for name, gate in model.named_modules():
        found = re.fullmatch(r'(backbone|neck)\.gates\.(\d+)\.spatial', name)
        if not isinstance(gate, SpatialGate) or found is None:
            continue
        part, number = found[1], int(found[2])
        if part == 'backbone' and stages is not None:
            if number not in stages:
                continue
            number = list(stages).index(number)
        handles.append(gate.score.register_forward_hook(recorder(f'{part}{number}')))
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def gate_maps(recorded: Mapping[str, Tensor], canvas_shape: tuple[int, int]) -> dict[str, Tensor]:
    """Convert recorded spatial gates to maps over the network's canvas.

    Args:
        recorded: As yielded by ``record_gates``; channel gates are ignored.
        canvas_shape: Height and width in pixels of the network's input.

    Returns:
        Name of the QD-ATT (``backbone.gates.0``) -> [B, h, w], where h and w are the size of the canvas divided by the
        stride of that stage, rounded up.

    Raises:
        ValueError: The number of tokens of a gate fits the canvas at no stride.
    """
    maps = {}
    for name, gate in recorded.items():
        attention, _, kind = name.rpartition('.')
        if kind == 'spatial':
            try:
                maps[attention] = gate[..., 0].unflatten(1, token_grid(gate.shape[1], canvas_shape))
            except ValueError as error:
                raise ValueError(f'{name}: {error}') from None
    return maps


def maps_on_image(maps: Mapping[str, Tensor], placement: Placement, index: int = 0) -> dict[str, np.ndarray]:
    """The maps of item ``index`` of the batch, as float [H, W] in pixels of its original image."""
    return {name: placement.map_to_original(values[index][None])[0].numpy() for name, values in maps.items()}


def token_grid(tokens: int, canvas_shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the feature map with this number of tokens, for a canvas of (height, width) pixels.

    Raises:
        ValueError: There is no stride at which the canvas has this number of tokens.
    """
    # h and w both decrease as the stride grows, so the first stride that gives this number gives the only such grid
    height, width = canvas_shape
    for stride in range(1, max(height, width) + 1):
        h, w = -(-height // stride), -(-width // stride)
        if h * w == tokens:
            return h, w
    raise ValueError(f'{tokens} tokens fit a canvas of {height} x {width} pixels (height x width) at no stride')
