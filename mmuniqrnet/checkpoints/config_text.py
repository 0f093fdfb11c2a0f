"""Read the config that a checkpoint carries without running it."""

import ast
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .files import CheckpointError


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
