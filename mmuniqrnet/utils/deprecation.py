"""Old names that still work for one release, with a warning that names the new one."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def moved_arguments(owner: str, given: Mapping[str, Any], target: str, names: Sequence[str]) -> dict[str, Any]:
    """Arguments that a constructor no longer has, for the dict argument that has them now.

    Args:
        owner: The class, for messages.
        given: Its ``**kwargs``.
        target: The argument that ``names`` have moved to.
        names: The arguments that have moved.

    Raises:
        TypeError: An argument is none of ``names``, as Python raises for an unknown one.
    """
    for name in given:
        if name not in names:
            raise TypeError(f'{owner}.__init__() got an unexpected keyword argument {name!r}')
        warnings.warn(
            f'{owner}: {name} has moved, set {target}=dict({name}=...); the old place works in this release only.',
            FutureWarning,
            stacklevel=3,
        )
    return dict(given)


def moved_names(module: str, moved: Mapping[str, str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for a module whose names have moved or been renamed.

    The new place is imported only when an old name is used, so a module may point to a layer above its own::

        __getattr__ = moved_names(__name__, {'old_name': 'mmuniqrnet.analysis.verify:new_name'})

    Args:
        module: ``__name__`` of the module that had the names.
        moved: From old name to new place: ``'package.module:name'``, or ``'package.module'`` for a module.
    """

    def __getattr__(name: str) -> Any:
        if name not in moved:
            raise AttributeError(f'module {module!r} has no attribute {name!r}')
        place, _, new_name = moved[name].partition(':')
        warnings.warn(
            f'{module}.{name} is deprecated and will be removed in the next release: '
            f'use {".".join(filter(None, [place, new_name]))} instead.',
            DeprecationWarning,
            stacklevel=2,
        )
        target = import_module(place)
        return getattr(target, new_name) if new_name else target

    return __getattr__
