"""A ``type`` of a config that no registry knows: its place in the config and the nearest name."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from mmengine.registry import Registry

from mmuniqrnet.utils.errors import UserError

from .arguments import REGISTRIES

# How mmengine's registries say it.
_UNKNOWN = re.compile(r'(?P<type>[\w.]+) is not in the (?P<scope>[\w.]+)::(?P<registry>[\w ]+) registry')


@contextmanager
def naming_unknown_types(config: Mapping[str, Any]) -> Iterator[None]:
    """While parts of a config are built, turn mmengine's KeyError about an unknown ``type`` into a sentence.

    Raises:
        UserError: A registry does not know a ``type`` of the config.
    """
    try:
        yield
    except KeyError as error:
        found = _UNKNOWN.search(str(error))
        places = list(_places(config, found['type'])) if found else []
        if not found or not places:
            raise
        raise UserError(
            f'{" and ".join(places)} is {found["type"]!r}, which is not registered as {found["registry"]}'
            f'{_nearest(found["type"], found["registry"])}. A class of your own is registered by importing its module: '
            'custom_imports=dict(imports=[...]).'
        ) from error


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
