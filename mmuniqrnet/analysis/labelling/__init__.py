"""Files of labelling tools to and from JSON Lines: Label Studio, CVAT, FiftyOne, COCO; a module for each format."""

from .convert import FORMATS, Options, convert
from .records import LabelledObject

__all__ = ['FORMATS', 'LabelledObject', 'Options', 'convert']
