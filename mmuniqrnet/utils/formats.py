"""Names of label formats, and of layouts and units of boxes; no heavy imports, because ``--help`` lists them."""

from typing import Literal, get_args

Layout = Literal['xyxy', 'xywh', 'cxcywh', 'yxyx']
Units = Literal['pixels', 'fraction', 'thousandths']

LAYOUTS: tuple[Layout, ...] = get_args(Layout)
UNITS: tuple[Units, ...] = get_args(Units)

# Labels that are read and written, and predictions, which are only read.
FORMATS = ('jsonl', 'coco', 'label-studio', 'cvat', 'fiftyone')
PREDICTIONS = ('predictions', 'answers')
