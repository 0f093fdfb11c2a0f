"""Old names that work for one release, with a warning that names the new one."""

import warnings
from collections.abc import Mapping, Sequence
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
