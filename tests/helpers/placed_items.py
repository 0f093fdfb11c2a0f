"""Two pictures that are shown at half their size, with padding around them, and what is meant in each."""

from .tiny_model import batch_of, item

# Shown at half size, with padding above and below, and left and right.
SHOWN, STORED = [(36, 64), (64, 40)], [(72, 128), (128, 80)]
BOXES = [(20.0, 8.0, 90.0, 60.0), (10.0, 30.0, 70.0, 110.0)]


def placed_items() -> dict:
    items = []
    for i, (shown, stored, (x1, y1, x2, y2)) in enumerate(zip(SHOWN, STORED, BOXES)):
        truth = dict(bbox=[x1, y1, x2, y2], mask=[[x1, y1, x2, y1, x2, y2, x1, y2]], bbox_label=0, ignore_flag=0)
        items.append(item(*shown, seed=i, ori_shape=stored, ref_id=i, dataset='toy', split='val', instances=[truth]))
    return batch_of(items)
