from typing import Sequence

from mmdet.models.layers import MLP, inverse_sigmoid
from mmengine.model import BaseModule
from torch import Tensor

from mmuniqrnet.registry import MODELS

# Where the sigmoid is not yet flat: the box around an untrained mask may be the whole canvas.
STEEP = (0.02, 0.98)


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

    def forward(
        self,
        reg: Tensor,
        reference: Tensor | None = None,
        maps: Sequence[Tensor] | None = None,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """reg [B, d] -> boxes [B, 4], cxcywh, normalised by the canvas (0..1).

        With a reference, boxes like these, the MLP says how the box differs from it, in logits. What every box branch
        is given besides, the encoder's maps and the canvas's padding mask, this one has no use for.
        """
        # float32 whatever autocast says: half precision has too few digits for boxes.
        logits = self.mlp(reg).float()
        if reference is not None:
            logits = logits + inverse_sigmoid(reference.clamp(*STEEP))
        return logits.sigmoid()


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
