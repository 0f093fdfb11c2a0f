"""Score the predictions of any system on the evaluation sets of a config, by ReferringMetric."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from mmuniqrnet.datasets.pictures import check_picture
from mmuniqrnet.evaluation import ReferringMetric
from mmuniqrnet.evaluation.predictions_file import Predictions
from mmuniqrnet.registry import DATASETS
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.io import atomic_path

PASSED_ON = ('dataset', 'split', 'sent_id', 'ref_id', 'img_id', 'img_path', 'text')


def build_evaluation_data(cfg: Config, part: str = 'test') -> Dataset:
    """The data set of ``{part}_dataloader``, without its transforms; images are not looked for.

    Raises:
        UserError: The config has no such data loader.
    """
    loader = cfg.get(f'{part}_dataloader')
    if not loader:
        raise UserError(f'the config has no {part}_dataloader, whose data set defines the expressions.')
    init_default_scope(cfg.get('default_scope', 'mmuniqrnet'))
    dataset = loader.dataset.copy()
    for leaf in leaves(dataset):
        leaf.pipeline = []
        leaf.check_images = False
    return DATASETS.build(dataset)


def leaves(dataset: Any) -> Iterator[Any]:
    """The configs of the single data sets that a config of a data set consists of."""
    parts = dataset.get('datasets') or ([dataset.dataset] if 'dataset' in dataset else [])
    if not parts:
        yield dataset
    for part in parts:
        yield from leaves(part)


def write_questions(dataset: Dataset, path: str | Path) -> int:
    """Write what to ask: a JSON line for each expression, with its ids, image, size in pixels and text.

    Returns:
        The number of lines.
    """
    with atomic_path(path) as part, part.open('w', encoding='utf-8') as file:
        for item in items_of(dataset):
            height, width = size_of(item)
            line = {name: item.get(name) for name in PASSED_ON} | dict(height=height, width=width)
            file.write(json.dumps(line, ensure_ascii=False) + '\n')
    return len(dataset)


def score_predictions(
    dataset: Dataset, predictions: Predictions, metric: ReferringMetric
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Evaluate a predictions file on all expressions of a data set, each once.

    Returns:
        The metrics, and the items of the expressions for which the file has no line; these count as wrong.

    Raises:
        UserError: See :class:`~mmuniqrnet.evaluation.predictions_file.Predictions`; or the data has masks for
            none of the expressions and the file has nothing but masks, likewise for boxes.
    """
    items = list(items_of(dataset))
    lines = predictions.match(items)
    for item, line in zip(items, lines):
        height, width = size_of(item)
        found = predictions.instances(line, height, width, len(item['instances']))
        metric.process(None, [dict(item, ori_shape=(height, width), pred_instances=found)])
    return metric.evaluate(len(items)), [item for item, line in zip(items, lines) if line is None]


def items_of(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """All items, as annotated, without their images."""
    return (dataset.get_data_info(index) for index in range(len(dataset)))


def size_of(item: dict[str, Any]) -> Sequence[int]:
    """Height and width of an item's image: as annotated, else from the header of the file."""
    if item.get('height') and item.get('width'):
        return int(item['height']), int(item['width'])
    picture = check_picture(item['img_path'], whole=False)
    return picture.height, picture.width
