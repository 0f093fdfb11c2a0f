from .efficientnet_lite import EfficientNetLite
from .qrnet_swin import QRNetSwin
from .query_modulated import QueryModulated
from .timm_backbone import TimmBackbone
from .transformers_backbone import TransformersBackbone

__all__ = ['EfficientNetLite', 'QRNetSwin', 'QueryModulated', 'TimmBackbone', 'TransformersBackbone']
