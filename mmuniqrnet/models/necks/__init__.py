from .query_aware_fusion import QueryAwareFusion

__all__ = ['QueryAwareFusion']
