from .query_dynamic_attention import ChannelGate, DynamicLinear, QueryDynamicAttention, SpatialGate

__all__ = ['DynamicLinear', 'ChannelGate', 'SpatialGate', 'QueryDynamicAttention']
