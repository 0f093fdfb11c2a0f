from .query_dynamic_attention import ChannelGate, DynamicLinear, QueryDynamicAttention, SpatialGate
from .swin_block import use_window_blocks

__all__ = ['ChannelGate', 'DynamicLinear', 'QueryDynamicAttention', 'SpatialGate', 'use_window_blocks']
