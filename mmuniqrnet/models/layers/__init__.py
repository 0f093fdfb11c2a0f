from .compiled_parts import Backend, run_part
from .query_dynamic_attention import ChannelGate, DynamicLinear, QueryDynamicAttention, SpatialGate, init_gates
from .recomputed import autocast_dtype, layer_norm
from .swin_block import use_window_blocks

__all__ = [
    'Backend',
    'ChannelGate',
    'DynamicLinear',
    'QueryDynamicAttention',
    'SpatialGate',
    'autocast_dtype',
    'init_gates',
    'layer_norm',
    'run_part',
    'use_window_blocks',
]
