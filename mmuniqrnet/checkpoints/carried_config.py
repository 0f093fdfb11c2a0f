"""The config that weights carry: what inference needs of a config, and reading it without running it."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmuniqrnet.utils.errors import CheckpointError, UserError


def inference_config(cfg: Config | Mapping[str, Any]) -> Config:
    """What the inferencer reads of a config: scope, model, test pipeline, threshold of refusal.

    It names no data, no files to begin from and no ``_base_``, so that it can be read anywhere.

    Returns:
        A config with ``default_scope``, ``model``, ``test_dataloader.dataset.pipeline`` and, where the config has
        them, ``test_dataloader.collate_fn`` and ``test_evaluator.refuse_below``.

    Raises:
        UserError: If there is no model or no test pipeline, or there are several different ones.
    """
    cfg = Config(_plain(cfg.to_dict() if isinstance(cfg, Config) else cfg))
    if not cfg.get('model'):
        raise UserError('the config has no model.')
    loader = cfg.get('test_dataloader') or {}
    pipelines = list(_pipelines(loader.get('dataset') or {}))
    if not pipelines:
        raise UserError('the config has no test_dataloader.dataset.pipeline, which says how images are prepared.')
    if any(pipeline != pipelines[0] for pipeline in pipelines):
        raise UserError(
            f'the {len(pipelines)} data sets of test_dataloader have different pipelines, so it is open '
            'how an image is to be prepared; give a config whose test_dataloader has one.'
        )
    kept = dict(test_dataloader=dict(dataset=dict(pipeline=_plain(pipelines[0]))))
    if 'collate_fn' in loader:
        kept['test_dataloader']['collate_fn'] = _plain(loader['collate_fn'])
    threshold = _refuse_below(cfg.get('test_evaluator'))
    if threshold is not None:
        kept['test_evaluator'] = dict(type='ReferringMetric', refuse_below=threshold)
    scope = cfg.get('default_scope', 'mmuniqrnet')
    return Config(dict(default_scope=scope, model=_without_sources(cfg.model), **kept))


def _pipelines(dataset: Mapping[str, Any]) -> Iterator[Sequence]:
    """Those of a data set's config, or of the data sets that it wraps."""
    if 'pipeline' in dataset:
        yield dataset['pipeline']
        return
    inner = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets', [])
    for part in inner:
        yield from _pipelines(part)


def _refuse_below(evaluator: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> float | None:
    metrics = [evaluator] if isinstance(evaluator, Mapping) else evaluator or []
    found = {metric['refuse_below'] for metric in metrics if metric.get('refuse_below') is not None}
    if len(found) > 1:
        raise UserError(f'the metrics of test_evaluator refuse below different scores {sorted(found)}; give them one.')
    return found.pop() if found else None


def _without_sources(config: Any) -> Any:
    """Without the checkpoints that training began from: they are part of the weights by now."""
    if isinstance(config, Mapping):
        return {
            key: _without_sources(value)
            for key, value in config.items()
            if key != 'pretrained' and not (key == 'init_cfg' and _names_checkpoint(value))
        }
    return [_without_sources(value) for value in config] if isinstance(config, list) else _plain(config)


def _names_checkpoint(init_cfg: Any) -> bool:
    entries = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    return any('checkpoint' in entry for entry in entries)


def _plain(config: Any) -> Any:
    """As dicts, lists and tuples of its own, without mmengine's classes."""
    if isinstance(config, Mapping):
        return {key: _plain(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_plain(value) for value in config)
    return config


def config_of(checkpoint: dict[str, Any], origin: str | Path) -> Config | None:
    """The config in a checkpoint's ``meta``, where mmengine and published weights keep it; None if it has none.

    mmengine runs such a text as Python. Here it is read as data: assignments of literals and of ``dict(...)``, which
    is all that mmengine itself writes.

    Raises:
        CheckpointError: If the text is something else.
    """
    text = (checkpoint.get('meta') or {}).get('cfg')
    if text is None:
        return None
    try:
        return Config(dict(_entry(statement) for statement in ast.parse(text).body))
    except (SyntaxError, ValueError) as error:
        raise CheckpointError(
            f'the config that {origin} carries was not read, for it is more than data ({error}); '
            'name a config file instead.'
        ) from None


def _entry(statement: ast.stmt) -> tuple[str, Any]:
    if (
        not isinstance(statement, ast.Assign)
        or len(statement.targets) != 1
        or (not isinstance(statement.targets[0], ast.Name))
    ):
        raise ValueError(f'line {statement.lineno} is no plain assignment')
    return statement.targets[0].id, _value(statement.value)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        return _dict(node)
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, ast.List | ast.Tuple):
        kind = list if isinstance(node, ast.List) else tuple
        return kind(_value(element) for element in node.elts)
    return ast.literal_eval(node)


def _dict(call: ast.Call) -> dict:
    """``dict(a=1)``; or ``dict({'a b': 1})``, as mmengine writes keys that are no names."""
    plain = (
        isinstance(call.func, ast.Name)
        and call.func.id == 'dict'
        and len(call.args) <= 1
        and all(isinstance(value, ast.Dict) for value in call.args)
        and all(word.arg for word in call.keywords)
    )
    if not plain:
        raise ValueError(f'line {call.lineno} calls something')
    given = _value(call.args[0]) if call.args else {}
    return given | {word.arg: _value(word.value) for word in call.keywords}
