import torch
from mmdet.models.layers import MLP, inverse_sigmoid
from mmengine.model import BaseModule
from torch import Tensor

from mmuniqrnet.registry import MODELS


@MODELS.register_module()
class BoxBranch(BaseModule):
    """The box from the [REG] token, as in TransVG and QRNet: a three-layer MLP and a sigmoid.

    Args:
        embed_dims: d, the width of [REG].
        num_layers: Layers of the MLP.
        init_cfg: mmengine initialisation.
    """

    def __init__(self, embed_dims: int = 256, num_layers: int = 3, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.mlp = MLP(embed_dims, embed_dims, 4, num_layers)

    def forward(self, reg: Tensor, reference: Tensor | None = None) -> Tensor:
        """reg [B, d] -> boxes [B, 4], cxcywh, normalised by the canvas (0..1).

        With a reference, boxes like these, the MLP says how the box differs from it, in logits.
        """
        # float32 whatever autocast says: half precision has too few digits for boxes.
        logits = self.mlp(reg).float()
        if reference is not None:
            # Away from 0 and 1, where the sigmoid is flat: the box around an untrained mask is the whole canvas.
            logits = logits + inverse_sigmoid(reference.clamp(0.05, 0.95))
        return logits.sigmoid()


def box_around(mask_logits: Tensor) -> Tensor:
    """The box that a soft mask speaks of, by its first two moments: [B, 1, h, w] -> cxcywh [B, 4] in 0..1.

    The width is that of an evenly filled box with the mask's spread, so it is exact for upright rectangles, and a
    smooth function of the logits for any mask.
    """
    # Squared, so that a faint but wide background weighs little.
    weight = mask_logits.squeeze(1).float().sigmoid()**2
    height, width = weight.shape[-2:]
    total = weight.sum((1, 2)).clamp(min=1e-6)
    moments = []
    for profile, cells in ((weight.sum(1), width), (weight.sum(2), height)):
        profile = profile / total[:, None]  # [B, cells], sums to 1
        place = (torch.arange(cells, device=profile.device) + 0.5) / cells
        mean = (profile * place).sum(1)
        # Each cell is itself an evenly filled interval.
        variance = (profile * (place - mean[:, None])**2).sum(1) + 1 / (12 * cells**2)
        moments.append((mean, (12 * variance).sqrt().clamp(max=1)))
    (x, w), (y, h) = moments
    return torch.stack([x, y, w, h], dim=1)


@MODELS.register_module()
class ScoreBranch(BaseModule):
    """How good the answer is: the logit of the IoU that the box will have, from the [REG] token.

    Args:
        embed_dims: d, the width of [REG].
        init_cfg: mmengine initialisation.
    """

    def __init__(self, embed_dims: int = 256, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.mlp = MLP(embed_dims, embed_dims, 1, 2)

    def forward(self, reg: Tensor) -> Tensor:
        """reg [B, d] -> logits [B]."""
        return self.mlp(reg).squeeze(-1).float()
