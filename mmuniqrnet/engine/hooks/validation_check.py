"""Find out at the start what would otherwise stop a training at the end of its first validation."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import ReduceOnPlateauParamScheduler
from mmengine.runner import Runner
from torch import nn

from mmuniqrnet.datasets.base import BaseReferringDataset
from mmuniqrnet.evaluation import ReferringMetric
from mmuniqrnet.evaluation.expected_metrics import Kind, Predicts, expected_metrics
from mmuniqrnet.evaluation.referring_metric import MEAN
from mmuniqrnet.evaluation.set_metrics import mean_metrics
from mmuniqrnet.models.heads import UniQRNetHead
from mmuniqrnet.registry import HOOKS
from mmuniqrnet.utils.errors import UserError

Sets = dict[str, set[Kind]]


@HOOKS.register_module()
class CheckValidationHook(Hook):
    """Checks the validation set (before a test: the test set) and the names of metrics that hooks wait for.

    It reads every item's annotation once, without images, and refuses

    - two expressions of one data set and split with the same ``sent_id``, of which one would be lost;
    - a ``save_best`` of mmengine's CheckpointHook, a ``monitor`` of its EarlyStoppingHook or of a ReduceOnPlateau
      scheduler, that :class:`ReferringMetric` will not give for these data and this model, such as mIoU where the data
      have boxes only;
    - a protocol that needs masks which the head is not told to give.

    Where there is no ReferringMetric, it does nothing. Other metrics may stand beside it; a name that is none of its
    sets' is then left to them.

    Raises:
        UserError: One of these is the case.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the validation set, and what waits for its metrics."""
        if runner.val_loop is None:
            return
        evaluator = runner.val_loop.evaluator
        names = _check(runner.val_loop.dataloader.dataset, evaluator, runner.model)
        if names is not None:
            for option, key in _awaited(runner):
                _check_name(option, key, names, alone=len(evaluator.metrics) == 1)

    def before_test(self, runner: Runner) -> None:
        """Check the test set."""
        _check(runner.test_loop.dataloader.dataset, runner.test_loop.evaluator, runner.model)


def _check(dataset: Any, evaluator: Evaluator, model: nn.Module) -> list[str] | None:
    """The names of all metrics of ReferringMetric; None if there is none, or if the data set is of another kind."""
    metrics = [metric for metric in evaluator.metrics if isinstance(metric, ReferringMetric)]
    parts = list(_parts(dataset))
    if not metrics or not all(isinstance(part, BaseReferringDataset) for part in parts):
        return None
    sets = kinds_of_sets(parts)
    return [name for metric in metrics for name in _names(metric, sets, model)]


def _parts(dataset: Any) -> Iterator[BaseDataset]:
    if isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from _parts(part)
    else:
        yield dataset


def kinds_of_sets(datasets: Iterable[BaseReferringDataset]) -> Sets:
    """The kinds of expressions in each evaluation set ``{dataset}/{split}``.

    Raises:
        UserError: Two expressions of a set have the same ``sent_id``.
    """
    sets: Sets = {}
    seen: dict[tuple[str, str, Any], tuple[Any, str]] = {}
    for dataset in datasets:
        for index in range(len(dataset)):
            item = dataset.get_annotation(index)
            key = (item['dataset'], item['split'], item['sent_id'])
            this = (item['img_id'], item['text'])
            first = seen.setdefault(key, this)
            if first != this:
                raise UserError(
                    f'{dataset.ann_file}: two expressions of {key[0]}/{key[1]} have sent_id {key[2]}: {first[1]!r} on '
                    f'image {first[0]} and {this[1]!r} on image {this[0]}; give each expression its own sent_id, or '
                    'data sets of the same name different ones (dataset_name).'
                )
            sets.setdefault(f'{key[0]}/{key[1]}', set()).add(Kind.of(item))
    return sets


def _names(metric: ReferringMetric, sets: Mapping[str, set[Kind]], model: nn.Module) -> Iterator[str]:
    head = getattr(model.module if is_model_wrapper(model) else model, 'head', None)
    branches = [f'{name}_branch' for name in ('box', 'mask', 'score')]
    predicts = (
        Predicts(*(getattr(head, name) is not None for name in branches))
        if isinstance(head, UniQRNetHead)
        else Predicts()
    )
    protocol = metric.protocol
    if (
        isinstance(head, UniQRNetHead)
        and predicts.masks
        and protocol.mask_field not in ('masks', *head.test_cfg.extra_masks)
    ):
        raise UserError(
            f"ReferringMetric(protocol='{protocol.name}') scores {protocol.mask_field}, which the head does not give: "
            f"set model.head.test_cfg.extra_masks=['{protocol.mask_field}']."
        )
    prefix = f'{metric.prefix}/' if metric.prefix else ''
    label = '' if protocol.name == 'original' else f'{protocol.name}_'
    by_set = {name: expected_metrics(sorted(kinds, key=repr), predicts, protocol) for name, kinds in sets.items()}
    for name, expected in by_set.items():
        for found in expected:
            yield f'{prefix}{name}/{label}{found}'
    if metric.mean_over_sets:
        for found in mean_metrics([dict.fromkeys(expected, 0.0) for expected in by_set.values()]):
            yield f'{prefix}{MEAN}/{label}{found}'


def _awaited(runner: Runner) -> Iterator[tuple[str, str]]:
    """The options that name a metric of the validation, and what they name."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.save_best is not None:
            for key in [hook.save_best] if isinstance(hook.save_best, str) else hook.save_best:
                yield 'save_best of the CheckpointHook', key
        if isinstance(hook, EarlyStoppingHook):
            yield 'monitor of the EarlyStoppingHook', hook.monitor
    schedulers = runner.param_schedulers or []
    for group in schedulers.values() if isinstance(schedulers, dict) else [schedulers]:
        for scheduler in group:
            if isinstance(scheduler, ReduceOnPlateauParamScheduler):
                yield f'monitor of {type(scheduler).__name__}', scheduler.monitor


def _check_name(option: str, key: str, names: list[str], alone: bool) -> None:
    if key in names:
        return
    sets = {name.rpartition('/')[0] for name in names}
    if key == 'auto':
        reason = f'would take {names[0]}, the first metric there is'
    elif alone or key.rpartition('/')[0] in sets:
        reason = 'will not be among the metrics of the validation'
    else:
        return
    near = get_close_matches(key, names, n=1, cutoff=0.6)
    hint = f' (the nearest is {near[0]})' if near and key != 'auto' else ''
    raise UserError(
        f'{option}={key!r} {reason}: with these data and this model they are {", ".join(names)}; '
        f'name one of them{hint}.'
    )
