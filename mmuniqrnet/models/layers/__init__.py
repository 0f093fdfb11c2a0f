from .query_dynamic_attention import ChannelGate, DynamicLinear, QueryDynamicAttention, SpatialGate, init_gates
from .recomputed import autocast_dtype, layer_norm
from .swin_block import use_window_blocks

__all__ = [
    'ChannelGate',
    'DynamicLinear',
    'QueryDynamicAttention',
    'SpatialGate',
    'autocast_dtype',
    'init_gates',
    'layer_norm',
    'use_window_blocks',
]
