from .qrnet_swin import QRNetSwin
from .query_modulated import QueryModulated

__all__ = ['QRNetSwin', 'QueryModulated']
