from .query_dynamic_attention import ChannelGate, DynamicLinear, QueryDynamicAttention, SpatialGate, init_gates
from .swin_block import use_window_blocks

__all__ = ['ChannelGate', 'DynamicLinear', 'QueryDynamicAttention', 'SpatialGate', 'init_gates', 'use_window_blocks']
