"""Files of labelling tools to and from JSON Lines: Label Studio, CVAT, FiftyOne, COCO; a module for each format."""

from mmuniqrnet.utils.formats import FORMATS

from .convert import Options, convert
from .records import LabelledObject

__all__ = ['FORMATS', 'LabelledObject', 'Options', 'convert']
