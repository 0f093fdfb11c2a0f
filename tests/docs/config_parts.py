"""Whether the parts that a config names are registered and take what it gives them."""

import inspect
import sys
from collections.abc import Callable, Iterator

from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmuniqrnet import registry
from mmuniqrnet.engine import BALANCE_STRATEGIES

REGISTRIES = [value for value in vars(registry).values() if isinstance(value, registry.Registry)] + [BALANCE_STRATEGIES]
# Words that mmengine takes out before it builds the part.
NOT_KEYWORDS = {'type', '_delete_', '_scope_', 'constructor', 'paramwise_cfg'}


def check_config(path: str) -> None:
    """Read a config as the tools do, and check its parts."""
    sys.path.insert(0, '')
    assert check_parts(Config.fromfile(path).to_dict()), f'{path} names no part at all'


def parts_of(value: object) -> Iterator[dict]:
    """Every dict with a ``type`` in a value, however deep."""
    if isinstance(value, dict):
        if isinstance(value.get('type'), str):
            yield value
        for inner in value.values():
            yield from parts_of(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from parts_of(inner)


def check_parts(value: object) -> int:
    """Assert that each part is registered and has the keywords that it is given; how many there were."""
    count = 0
    with DefaultScope.overwrite_default_scope('mmuniqrnet'):
        for part in parts_of(value):
            kind = part['type']
            found = [cls for cls in (one.get(kind) for one in REGISTRIES) if cls is not None]
            assert found, f'there is no {kind!r} in any registry'
            known = keywords_of(found[0])
            unknown = set() if known is None else set(part) - NOT_KEYWORDS - known
            assert not unknown, f'{kind} takes no {", ".join(sorted(unknown))}'
            count += 1
    return count


def keywords_of(part: type | Callable) -> set[str] | None:
    """The keywords that a class or function takes, and those that it hands on to its base classes; None = any."""
    known: set[str] = set()
    makers = (
        [vars(base)['__init__'] for base in part.__mro__ if '__init__' in vars(base)]
        if inspect.isclass(part)
        else [part]
    )
    for maker in makers:
        parameters = inspect.signature(maker).parameters.values()
        known.update(parameter.name for parameter in parameters)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            return known
    return None
