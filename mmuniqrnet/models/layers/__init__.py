from .dynamic_linear import DynamicLinear
from .query_dynamic_attention import ChannelGate, QueryDynamicAttention, SpatialGate

__all__ = ['DynamicLinear', 'ChannelGate', 'SpatialGate', 'QueryDynamicAttention']
