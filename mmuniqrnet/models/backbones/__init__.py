from .qrnet_swin import QRNetSwin

__all__ = ['QRNetSwin']
