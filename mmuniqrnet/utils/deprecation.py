"""Old names that still work for one release, with a warning that names the new one."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def moved_arguments(owner: str, given: Mapping[str, Any], target: str, names: Sequence[str]) -> dict[str, Any]:
    """Accept arguments that were moved into a dict argument, and return them for that dict.

    Args:
        owner: The class, for messages.
        given: Its ``**kwargs``.
        target: The argument that ``names`` have moved to.
        names: The arguments that have moved.

    Raises:
        TypeError: An argument is not in ``names``; the message is that of Python for an unknown argument.
    """
    for name in given:
        if name not in names:
            raise TypeError(f'{owner}.__init__() got an unexpected keyword argument {name!r}')
        warnings.warn(
            f'{owner}: {name} has moved, set {target}=dict({name}=...); the old argument works in this release only.',
            FutureWarning,
            stacklevel=3,
        )
    return dict(given)


def moved_names(module: str, moved: Mapping[str, str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for a module whose names have moved or been renamed.

    The new place is imported only when an old name is used, so a module may refer to one that itself imports it::

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
