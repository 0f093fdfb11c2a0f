from torch import Tensor, nn

from mmuniqrnet.registry import MODELS


@MODELS.register_module()
class LovaszMaskLoss(nn.Module):
    """mmseg's binary Lovász hinge loss (Berman et al. 2018) of each mask as a whole, for ``loss_mask_dice``.

    mmseg's own class ignores weights and soft targets. Here a pixel is object if at least half of it is, and masks of
    weight zero are ignored. Background pixels with a logit far below zero, which the head sets for padding, add
    nothing to the loss.

    Args:
        loss_weight: Multiplies the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss = MODELS.build(dict(type='mmseg.LovaszLoss', loss_type='binary', per_image=True))

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor) -> Tensor:
        """Logits and target [B, 1, h, w], weight [B] (0 or 1) -> the sum over the masks / ``avg_factor``."""
        labels = (target >= 0.5).long().masked_fill(weight[:, None, None, None] == 0, 255)
        return self.loss_weight * self.loss(pred.squeeze(1), labels.squeeze(1), avg_factor=avg_factor)
