from .query_dynamic_attention import ChannelGate, DynamicLinear, QueryDynamicAttention, SpatialGate

__all__ = ['ChannelGate', 'DynamicLinear', 'QueryDynamicAttention', 'SpatialGate']
