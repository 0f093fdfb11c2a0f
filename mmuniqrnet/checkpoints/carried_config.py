"""The config stored in a weights file: the part that inference needs, and how to read it without executing it."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmuniqrnet.utils.errors import CheckpointError, UserError

# Options of the model that change what its weights mean and that no tensor shows, and QRNet's values, which are also
# the defaults.
HIDDEN_OPTIONS = {
    'text_encoder.sentence': 'cls',
    'backbone.gate_limit': None,
    'backbone.gate_output': 'before_norm',
    'backbone.between': None,
    'neck.gate_limit': None,
    'head.box_from_mask': False,
    'head.encoder.num_heads': 8,
    'head.encoder.levels': (3, 4),
}


def hidden_options(model: Mapping[str, Any]) -> dict[str, Any]:
    """The values of ``HIDDEN_OPTIONS`` in the config of a model."""
    values = {}
    for option, default in HIDDEN_OPTIONS.items():
        *parts, name = option.split('.')
        part: Any = model
        for key in parts:
            part = part.get(key) if isinstance(part, Mapping) else None
        value = part.get(name, default) if isinstance(part, Mapping) else default
        values[option] = tuple(value) if isinstance(value, list) else value
    return values


def changed_options(checkpoint: dict[str, Any], model: Mapping[str, Any], origin: str | Path) -> list[str]:
    """How a model's ``HIDDEN_OPTIONS`` differ from those of the config in a checkpoint.

    Returns:
        A text for each of them, with both values; nothing if the checkpoint has no config that can be read.
    """
    try:
        carried = (config_of(checkpoint, origin) or {}).get('model')
    except CheckpointError:
        return []  # it holds more than data
    if not carried or model.get('type') is None:
        return []
    now, trained = hidden_options(model), hidden_options(carried)
    return [f'{name}={trained[name]!r} (now {now[name]!r})' for name in now if now[name] != trained[name]]


def inference_config(cfg: Config | Mapping[str, Any]) -> Config:
    """The part of a config that inference needs: scope, model, test pipeline and refusal threshold.

    It contains no data sets, no checkpoints to start from and no ``_base_``, so it can be used on any machine.

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
        raise UserError('the config has no test_dataloader.dataset.pipeline, which defines how images are prepared.')
    if any(pipeline != pipelines[0] for pipeline in pipelines):
        raise UserError(
            f'the {len(pipelines)} data sets of test_dataloader have different pipelines, so it is not clear '
            'how to prepare an image; give a config in which they have the same one.'
        )
    test_dataloader: dict[str, Any] = dict(dataset=dict(pipeline=_plain(pipelines[0])))
    if 'collate_fn' in loader:
        test_dataloader['collate_fn'] = _plain(loader['collate_fn'])
    kept: dict[str, Any] = dict(test_dataloader=test_dataloader)
    threshold = _refuse_below(cfg.get('test_evaluator'))
    if threshold is not None:
        kept['test_evaluator'] = dict(type='ReferringMetric', refuse_below=threshold)
    scope = cfg.get('default_scope', 'mmuniqrnet')
    return Config(dict(default_scope=scope, model=_without_initial_weights(cfg.model), **kept))


def _pipelines(dataset: Mapping[str, Any]) -> Iterator[Sequence]:
    """The pipeline of a data set's config, or those of the data sets that it wraps."""
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
        raise UserError(
            f'the metrics of test_evaluator refuse below different scores {sorted(found)}; give them the same.'
        )
    return found.pop() if found else None


def _without_initial_weights(config: Any) -> Any:
    """A config without the checkpoints from which training started; the trained weights replace them."""
    if isinstance(config, Mapping):
        return {
            key: _without_initial_weights(value)
            for key, value in config.items()
            if key not in ('pretrained', 'checkpoint') and not (key == 'init_cfg' and has_checkpoint(value))
        }
    return [_without_initial_weights(value) for value in config] if isinstance(config, list) else _plain(config)


def has_checkpoint(init_cfg: Any) -> bool:
    """Whether an ``init_cfg`` (a dict, a list of them, or None) loads a checkpoint."""
    entries = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    return any('checkpoint' in entry for entry in entries)


def _plain(config: Any) -> Any:
    """A copy made of plain dicts, lists and tuples instead of mmengine's classes."""
    if isinstance(config, Mapping):
        return {key: _plain(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_plain(value) for value in config)
    return config


def config_of(checkpoint: dict[str, Any], origin: str | Path) -> Config | None:
    """The config in a checkpoint's ``meta``, where mmengine and published weights store it; None if there is none.

    mmengine executes this text as Python. Here it is parsed as data: assignments of literals and of ``dict(...)``, and
    mmengine writes nothing else.

    Raises:
        CheckpointError: If the text contains anything else.
    """
    text = (checkpoint.get('meta') or {}).get('cfg')
    if text is None:
        return None
    try:
        return Config(dict(_entry(statement) for statement in ast.parse(text).body))
    except (SyntaxError, ValueError) as error:
        raise CheckpointError(
            f'the config stored in {origin} was not read, because it contains more than data ({error}); '
            'name a config file instead.'
        ) from None


def _entry(statement: ast.stmt) -> tuple[str, Any]:
    if (
        not isinstance(statement, ast.Assign)
        or len(statement.targets) != 1
        or (not isinstance(statement.targets[0], ast.Name))
    ):
        raise ValueError(f'line {statement.lineno} is not a plain assignment')
    return statement.targets[0].id, _value(statement.value)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        return _dict(node)
    if isinstance(node, ast.Dict):
        keys = [key for key in node.keys if key is not None]
        if len(keys) == len(node.keys):  # else it has **other
            return {_value(key): _value(value) for key, value in zip(keys, node.values)}
    if isinstance(node, ast.List | ast.Tuple):
        kind = list if isinstance(node, ast.List) else tuple
        return kind(_value(element) for element in node.elts)
    return ast.literal_eval(node)


def _dict(call: ast.Call) -> dict:
    """``dict(a=1)``; or ``dict({'a b': 1})``, which mmengine writes for keys that are not Python names."""
    plain = (
        isinstance(call.func, ast.Name)
        and call.func.id == 'dict'
        and len(call.args) <= 1
        and all(isinstance(value, ast.Dict) for value in call.args)
        and all(word.arg for word in call.keywords)
    )
    if not plain:
        raise ValueError(f'line {call.lineno} calls something else than dict')
    given = _value(call.args[0]) if call.args else {}
    return given | {word.arg: _value(word.value) for word in call.keywords}
