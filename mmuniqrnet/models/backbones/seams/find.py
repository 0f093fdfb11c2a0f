from torch import nn

from .base import OutputSeam, Seam
from .openmmlab import LayersSeam, MSCANSeam, PyramidSeam, RegNetSeam, ResNetSeam, SwinSeam, TwinsSeam

# By the class that defines ``forward``, since a seam repeats what this method does: a subclass with a ``forward`` of its
# own, which may do something else, has no seam. By name, so that no library has to be imported.
SEAMS: dict[str, type[Seam]] = {
    'mmdet.models.backbones.csp_darknet.CSPDarknet': LayersSeam,
    'mmdet.models.backbones.cspnext.CSPNeXt': LayersSeam,
    'mmdet.models.backbones.efficientnet.EfficientNet': LayersSeam,
    'mmdet.models.backbones.mobilenet_v2.MobileNetV2': LayersSeam,
    'mmdet.models.backbones.pvt.PyramidVisionTransformer': PyramidSeam,
    'mmdet.models.backbones.regnet.RegNet': RegNetSeam,
    'mmdet.models.backbones.resnet.ResNet': ResNetSeam,
    'mmdet.models.backbones.swin.SwinTransformer': SwinSeam,
    'mmseg.models.backbones.mit.MixVisionTransformer': PyramidSeam,
    'mmseg.models.backbones.mobilenet_v2.MobileNetV2': LayersSeam,
    'mmseg.models.backbones.mscan.MSCAN': MSCANSeam,
    'mmseg.models.backbones.resnet.ResNet': ResNetSeam,
    'mmseg.models.backbones.swin.SwinTransformer': SwinSeam,
    'mmseg.models.backbones.twins.PCPVT': TwinsSeam,
}


def find_seam(body: nn.Module) -> Seam:
    """The seam of a backbone; an :class:`OutputSeam` if none is known."""
    owner = next(kind for kind in type(body).__mro__ if 'forward' in vars(kind))
    return SEAMS.get(f'{owner.__module__}.{owner.__qualname__}', OutputSeam)()
