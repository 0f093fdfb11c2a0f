"""QRNet's weights in the layout of its published code and in that of ``UniQRNet``."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from .renaming import Renaming
from .swin import SWIN, Converted, to_original_order, to_unfold_order

# Pairs of (QRNet, UniQRNet): the end of the name, within a gate of the backbone or of the neck.
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
    r'visumodel\.rpn_head\..*': 'not used by QRNet either',
    r'textmodel\.bert\.pooler\..*': 'the [CLS] feature is taken before the pooler',
    r'textmodel\.bert\.embeddings\.(position_ids|token_type_ids)': 'indices, not weights',
    r'visumodel\.backbone\..*\.attn_mask': 'computed by the model',
}
# What UniQRNet adds to QRNet.
NOT_IN_QRNET = ('head.mask_branch.', 'head.score_branch.', 'head.pixel_guidance.')

QRNET = (
    SWIN.prefixed('visumodel.backbone.', 'backbone.')
    + Renaming(GATE).prefixed('visumodel.backbone.layers.{i}.', 'backbone.gates.{i}.')
    + Renaming(GATE).prefixed('visumodel.neck.fpn_down.{i}.', 'neck.gates.{i}.')
    + Renaming([('visumodel.neck.lateral_convs.*', 'neck.lateral_convs.*')])
    + Renaming(ENCODER).prefixed('', 'head.encoder.')
    + Renaming([('bbox_embed.layers.*', 'head.box_branch.mlp.layers.*'), ('textmodel.bert.*', 'text_encoder.model.*')])
)


def is_qrnet(keys: Iterable[str]) -> bool:
    """Whether these are tensor names of a published QRNet checkpoint."""
    return any(key.startswith('visumodel.backbone.') for key in keys)


def to_uniqrnet(state: Mapping[str, Tensor]) -> Converted:
    """Convert published QRNet weights to ``UniQRNet``; the parts that QRNet does not have are missing."""
    out, left_out, unexpected = {}, {}, []
    for key, value in state.items():
        if any(re.fullmatch(pattern, key) for pattern in LEFT_OUT):
            left_out[key] = value
            continue
        name = QRNET.forward(key)
        if name is None:
            unexpected.append(key)
        else:
            out[name] = to_unfold_order(name, value)
    return Converted(out, left_out, unexpected)


def to_published(state: Mapping[str, Tensor]) -> Converted:
    """Convert weights of ``UniQRNet`` to QRNet; what QRNet does not have (mask, score, guidance) is left out."""
    out, left_out, unexpected = {}, {}, []
    for key, value in state.items():
        name = QRNET.backward(key)
        if name is not None:
            out[name] = to_original_order(key, value)
        elif key.startswith(NOT_IN_QRNET):
            left_out[key] = value
        else:
            unexpected.append(key)
    return Converted(out, left_out, unexpected)
