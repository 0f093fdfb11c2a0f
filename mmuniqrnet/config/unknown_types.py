"""A ``type`` of a config that no registry knows: its place in the config and the nearest name."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from mmuniqrnet.utils.errors import UserError

from .arguments import REGISTRIES, find_part

# How mmengine's registries say it.
_UNKNOWN = re.compile(r'(?P<type>[\w.]+) is not in the (?P<scope>[\w.]+)::(?P<registry>[\w ]+) registry')


@contextmanager
def naming_unknown_types(config: Config) -> Iterator[None]:
    """While parts of a config are built, turn mmengine's KeyError about an unknown ``type`` into a sentence.

    Raises:
        UserError: A registry does not know a ``type`` of the config.
    """
    try:
        yield
    except (KeyError, TypeError) as error:
        kind, registry = _unknown_type(error, config.to_dict())
        places = list(_places(config.to_dict(), kind)) if kind else []
        if not places:
            raise
        raise UserError(
            f'{" and ".join(places)} is {kind!r}, which is not registered as {registry}{_nearest(kind, registry)}. '
            'A class of your own is registered by importing its module: custom_imports=dict(imports=[...]).'
        ) from error


def _unknown_type(error: Exception, config: Mapping[str, Any]) -> tuple[str, str]:
    """The type that mmengine did not find, and the name of the registry; empty if the error is another one."""
    found = _UNKNOWN.search(str(error))
    if found:
        return found['type'], found['registry']
    # mmengine asks for the signature of the optimizer before it looks whether there is one.
    optimizer = ((config.get('optim_wrapper') or {}).get('optimizer') or {}).get('type')
    if isinstance(optimizer, str) and find_part(optimizer, ('optimizer',)) is None:
        return (optimizer, 'optimizer') if 'None is not a callable object' in str(error) else ('', '')
    return '', ''


def _places(node: Any, kind: str, above: str = '') -> Iterator[str]:
    """Dotted keys of the dicts whose ``type`` is ``kind``."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for key, value in items:
        if key == 'type' and value == kind:
            yield f'{above}type'
        yield from _places(value, kind, f'{above}{key}.')


def _nearest(kind: str, registry: str) -> str:
    names: dict[str, str] = {}
    for tree in {id(one): one for one in map(_root, REGISTRIES) if one.name == registry}.values():
        for member in (tree, *tree.children.values()):
            names |= {name: f'{member.scope}.{name}' for name in member.module_dict if isinstance(name, str)}
    bare = kind.rpartition('.')[2]
    near = get_close_matches(bare, sorted(names), n=1, cutoff=0.6)
    if not near:
        return ''
    # Without a scope, names of mmengine and of this package are found.
    return f'; the nearest name is {names[near[0]].removeprefix("mmuniqrnet.").removeprefix("mmengine.")!r}'


def _root(registry: Registry) -> Registry:
    return registry if registry.parent is None else _root(registry.parent)
