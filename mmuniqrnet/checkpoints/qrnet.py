"""QRNet's weights in the layout of its published code and in ours."""

import re
from collections.abc import Mapping

from torch import Tensor

from .renaming import Renaming
from .swin import SWIN, Converted, original_order, unfold_order

# Rows of (theirs, ours) with a gate's own part of the name, for the backbone and the neck alike.
GATE = [
    ('qdatt.ChannelGate.mlp.0.decoder.*', 'channel.squeeze.*'),
    ('qdatt.ChannelGate.mlp.2.decoder.*', 'channel.excite.*'),
    ('qdatt.SpatialGate.spatial.decoder.*', 'spatial.score.*'),
]
ENCODER = [
    ('vl_pos_embed.*', 'position.*'),
    ('scale_embed.*', 'level_embed.*'),
    ('reg_token.*', 'reg_token.*'),
    ('visu_proj.*', 'visual_proj.*'),
    ('text_proj.*', 'text_proj.*'),
    ('vl_transformer.encoder.layers.*', 'layers.*'),
]
LEFT_OUT = {
    r'visumodel\.rpn_head\..*': 'unused in QRNet, too',
    r'textmodel\.bert\.pooler\..*': 'the [CLS] feature is taken before it',
    r'textmodel\.bert\.embeddings\.(position_ids|token_type_ids)': 'counting numbers, no weights',
    r'visumodel\.backbone\..*\.attn_mask': 'made by the model',
}
# What UniQRNet adds to QRNet.
OURS_ALONE = ('head.mask_branch.', 'head.score_branch.', 'head.pixel_guidance.')

QRNET = (
    SWIN.prefixed('visumodel.backbone.', 'backbone.')
    + Renaming(GATE).prefixed('visumodel.backbone.layers.{i}.', 'backbone.gates.{i}.')
    + Renaming(GATE).prefixed('visumodel.neck.fpn_down.{i}.', 'neck.gates.{i}.')
    + Renaming([('visumodel.neck.lateral_convs.*', 'neck.lateral_convs.*')])
    + Renaming(ENCODER).prefixed('', 'head.encoder.')
    + Renaming([('bbox_embed.layers.*', 'head.box_branch.mlp.layers.*'), ('textmodel.bert.*', 'text_encoder.model.*')])
)


def is_qrnet(keys) -> bool:
    """Whether these are names of a published QRNet checkpoint."""
    return any(key.startswith('visumodel.backbone.') for key in keys)


def to_ours(state: Mapping[str, Tensor]) -> Converted:
    """Published weights as those of ``UniQRNet``; what QRNet does not have is not in them."""
    out, left_out, unexpected = {}, {}, []
    for key, value in state.items():
        if any(re.fullmatch(pattern, key) for pattern in LEFT_OUT):
            left_out[key] = value
            continue
        name = QRNET.forward(key)
        if name is None:
            unexpected.append(key)
        else:
            out[name] = unfold_order(name, value)
    return Converted(out, left_out, unexpected)


def to_published(state: Mapping[str, Tensor]) -> Converted:
    """Weights of ``UniQRNet`` as published ones; what QRNet has no place for (mask, score, guidance) is left out."""
    out, left_out, unexpected = {}, {}, []
    for key, value in state.items():
        name = QRNET.backward(key)
        if name is not None:
            out[name] = original_order(key, value)
        elif key.startswith(OURS_ALONE):
            left_out[key] = value
        else:
            unexpected.append(key)
    return Converted(out, left_out, unexpected)
