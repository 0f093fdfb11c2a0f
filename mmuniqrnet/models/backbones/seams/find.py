from torch import nn

from .base import Seam
from .openmmlab import LayersSeam, MSCANSeam, PyramidSeam, RegNetSeam, ResNetSeam, SwinSeam, TwinsSeam

# By the class that defines ``forward``, since a seam repeats what this method does: a subclass with a ``forward`` of
# its own, which may do something else, has no seam. By name, so that no library has to be imported.
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


def find_seam(body: nn.Module) -> Seam | None:
    """The seam of a backbone: its own ``seam``, or the known one of its class; None if there is none."""
    if hasattr(body, 'seam'):
        return body.seam
    kind = SEAMS.get(owner_of_forward(body))
    return None if kind is None else kind()


def owner_of_forward(module: nn.Module) -> str:
    """The full name of the class that defines a module's ``forward``."""
    owner = next(kind for kind in type(module).__mro__ if 'forward' in vars(kind))
    return f'{owner.__module__}.{owner.__qualname__}'
