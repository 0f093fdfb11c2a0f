"""A check of mask losses of mmdet and mmseg when the head is built.

Losses with the same signature do not do the same: mmseg's FocalLoss ignores a whole sample whose first object pixel has
index 255, its LovaszLoss accepts weights and ignores them, its TverskyLoss is a softmax over a single class.
:func:`check_loss` therefore calls a loss as the head does, and checks that elements of weight zero do not count.
"""

import torch
from torch import nn

from mmuniqrnet.utils.errors import UserError

# More than 255, mmseg's usual ignore_index, which some of its losses compare with pixel indices.
PIXELS = 300
REMEDY = "e.g. dict(type='mmdet.FocalLoss') for single pixels, dict(type='mmdet.DiceLoss') for whole masks"


@torch.inference_mode(False)
@torch.enable_grad()
def check_loss(name: str, loss: nn.Module | None, whole: bool = False) -> None:
    """Check on the CPU, with a few numbers, that a loss does what the head relies on.

    Args:
        name: The argument of the head, for messages.
        loss: The loss; None, or a loss with ``loss_weight`` 0, is not checked.
        whole: Whether it takes masks [B, 1, h, w] with weights [B], instead of logits [B, P] with weights [B, P].

    Raises:
        ValueError: It raises an error, does not return one number, counts elements of weight 0, ignores elements of
            weight 1, or is not divided by ``avg_factor``.
    """
    if loss is None or getattr(loss, 'loss_weight', 1) == 0:
        return
    # On the CPU also if the model is built on another device or on the meta device.
    logits = torch.linspace(-1, 1, 3 * PIXELS, device='cpu').view(3, PIXELS)
    target = torch.zeros_like(logits)
    target[:, 255:] = 1
    weight = torch.ones_like(logits)
    weight[1] = 0
    padding = torch.zeros_like(logits, dtype=torch.bool)
    padding[:, :20] = True
    if whole:
        logits, target, padding = (x.view(3, 1, -1, 20) for x in (logits, target, padding))
        weight = weight[:, 0]
    else:
        weight[padding] = 0
    logits.requires_grad_()
    try:
        values = [
            loss(logits.masked_fill(padding, low), target, weight, avg_factor=logits.new_tensor(n))
            for low, n in ((-50.0, 2.0), (-50.0, 4.0), (-60.0, 2.0))
        ]
        (gradient,) = torch.autograd.grad(values[0], logits)
    except Exception as error:
        raise UserError(
            f'UniQRNetHead: {name} cannot be {type(loss).__name__} as it is set: called as the head '
            f'does, it fails ({type(error).__name__}: {error}); take another, {REMEDY}.'
        ) from error
    if gradient[1].any() or not torch.allclose(values[0], values[2], rtol=1e-5):
        fault = 'it counts samples of weight 0, or padding'
    elif not all(sample.any() for sample in gradient[[0, 2]]):
        fault = 'it leaves out a sample that has a truth'
    elif not torch.allclose(values[0], 2 * values[1], rtol=1e-3):
        fault = 'it is not averaged by the avg_factor that it is given'
    else:
        return
    raise UserError(
        f'UniQRNetHead: {name} cannot be {type(loss).__name__} as it is set: {fault}; take another, {REMEDY}.'
    )
