"""The best accuracy of a model that knows all objects but ignores the expression."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from pycocotools import mask as mask_utils
from torch.utils.data import Dataset

from mmuniqrnet.utils.errors import UserError

from .base import annotation_of


def text_blind_accuracy(items: Iterable[dict]) -> float:
    """Acc@0.5, in per cent, of the best guess that knows the image's objects but not the text.

    For each image, the answer to all its expressions is the one box that is correct (IoU at least 0.5) for most of
    them. The candidates are each target's box and the smallest box around each pair of targets, which may be correct
    for both if they touch. A model that ignores the text gives one box per image, so it cannot be better.

    Args:
        items: data items of one split, with ``img_id`` and one instance each, whose ``bbox`` is xyxy.

    Raises:
        ValueError: there are no items, or one has no box or several.
    """
    boxes = defaultdict(list)
    for item in items:
        if len(item['instances']) != 1 or 'bbox' not in item['instances'][0]:
            raise UserError(
                f'The text-blind guess needs exactly one box per expression; image '
                f'{item["img_id"]}, "{item.get("text", "")}", has none or several.'
            )
        boxes[item['img_id']].append(tuple(item['instances'][0]['bbox']))
    if not boxes:
        raise ValueError('The text-blind guess needs at least one expression.')
    right = sum(_most_right(np.array(targets, dtype=np.float64)) for targets in boxes.values())
    return 100 * right / sum(map(len, boxes.values()))


def text_blind_by_set(dataset: Dataset) -> dict[str, float]:
    """:func:`text_blind_accuracy` of each evaluation set ``{dataset}/{split}`` in one or several data sets.

    Expressions without exactly one box are left out, and so is a set that has only such expressions.
    """
    items = defaultdict(list)
    for index in range(len(dataset)):
        item = annotation_of(dataset, index)
        if len(item['instances']) == 1 and 'bbox' in item['instances'][0]:
            items[f'{item["dataset"]}/{item["split"]}'].append(item)
    return {name: text_blind_accuracy(found) for name, found in items.items()}


def _most_right(targets: np.ndarray) -> int:
    """The largest number of ``targets`` (N, 4), one per expression, for which a single box is correct."""
    objects, expressions = np.unique(targets, axis=0, return_counts=True)
    low = np.minimum(objects[:, None, :2], objects[None, :, :2])
    high = np.maximum(objects[:, None, 2:], objects[None, :, 2:])
    guesses = np.concatenate([low, high - low], -1).reshape(-1, 4)
    truths = np.concatenate([objects[:, :2], objects[:, 2:] - objects[:, :2]], -1)
    iou = mask_utils.iou(guesses, truths, [0] * len(truths))
    return int(((iou >= 0.5) @ expressions).max())
