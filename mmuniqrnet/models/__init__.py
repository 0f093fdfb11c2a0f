from .backbones import QRNetSwin, QueryModulated, TimmBackbone, TransformersBackbone
from .data_preprocessor import ReferDataPreprocessor
from .encoders import VisualLinguisticEncoder
from .gated_detectors import GatedGLIP, GatedGroundingDINO
from .heads import (
    BoxBranch,
    BoxRefiner,
    DecodeHeadMaskBranch,
    DenseBoxBranch,
    MaskBranch,
    PixelGuidance,
    PointingBoxBranch,
    ScoreBranch,
    UniQRNetHead,
)
from .language_model import LanguageModel
from .losses import BoxMaskConsistencyLoss, LovaszMaskLoss
from .necks import QueryAwareFusion
from .text_encoder import TextEncoder
from .uniqrnet import UniQRNet

__all__ = [
    'BoxBranch',
    'BoxMaskConsistencyLoss',
    'BoxRefiner',
    'DecodeHeadMaskBranch',
    'DenseBoxBranch',
    'GatedGLIP',
    'GatedGroundingDINO',
    'LanguageModel',
    'LovaszMaskLoss',
    'MaskBranch',
    'PixelGuidance',
    'PointingBoxBranch',
    'QRNetSwin',
    'QueryAwareFusion',
    'QueryModulated',
    'ReferDataPreprocessor',
    'ScoreBranch',
    'TextEncoder',
    'TimmBackbone',
    'TransformersBackbone',
    'UniQRNet',
    'UniQRNetHead',
    'VisualLinguisticEncoder',
]
