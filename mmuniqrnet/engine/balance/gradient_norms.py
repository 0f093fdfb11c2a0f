"""Norms of the tasks' gradients at the parameters that they share, for strategies such as GradNorm."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmuniqrnet.utils.errors import UserError


def find_shared_parameters(model: nn.Module, names: Sequence[str] | None) -> list[nn.Parameter]:
    """The trained parameters that all tasks share.

    Args:
        model: The model.
        names: Names of parameters or modules of the model; None asks the model's ``shared_parameters()``.

    Raises:
        ValueError: The model does not have a name, has no ``shared_parameters()``, or all of them are frozen.
    """
    if names is not None:
        named = list(model.named_parameters())
        inside = {name: {key for key, _ in named if f'{key}.'.startswith(f'{name}.')} for name in names}
        missing = [name for name, keys in inside.items() if not keys]
        if missing:
            raise UserError(
                f'LossBalanceHook: {type(model).__name__} has no parameter or module {", ".join(missing)}: correct '
                '`shared_parameters`'
            )
        parameters = [parameter for key, parameter in named if key in set().union(*inside.values())]
    elif hasattr(model, 'shared_parameters'):
        parameters = list(model.shared_parameters())
    else:
        raise UserError(
            f'LossBalanceHook: the strategy looks at gradients, and {type(model).__name__} does not name its shared '
            'parameters: name the last parameters or modules that all tasks share, as `shared_parameters=["neck"]`'
        )
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    if not parameters:
        raise UserError('LossBalanceHook: all the shared parameters are frozen, choose others')
    return parameters


def gradient_norms(losses: Mapping[str, Tensor], parameters: Sequence[nn.Parameter], scale: float = 1.0) -> Tensor:
    """The norm of the gradient of each task's loss with respect to all parameters, [number of tasks].

    On several ranks it is the norm of the mean gradient, which is that of the joint batch; the mean of the ranks' norms
    would be larger, because the gradients of single batches cancel in part.

    Args:
        losses: The loss of each task, a scalar; the graph is kept.
        parameters: The shared parameters.
        scale: Losses are multiplied by it before the backward pass and gradients divided by it after.

    Raises:
        ValueError: A loss that is not zero does not depend on any of the parameters.
    """
    rows = []
    for task, loss in losses.items():
        gradients: Sequence[Tensor | None] = (
            torch.autograd.grad(loss * scale, parameters, retain_graph=True, allow_unused=True)
            if loss.requires_grad
            else [None] * len(parameters)
        )
        if loss != 0 and all(gradient is None for gradient in gradients):
            raise UserError(
                f'LossBalanceHook: the losses of task {task!r} do not depend on any of the shared parameters; name '
                'parameters or modules on which all tasks depend, such as shared_parameters="neck"'
            )
        whole = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients)]
        rows.append(torch.cat([part.float().flatten() for part in whole]) / scale)
    stacked = torch.stack(rows)
    all_reduce(stacked, 'mean')
    return stacked.norm(dim=1)
