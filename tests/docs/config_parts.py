"""Whether the parts that a config names are registered and take what it gives them."""

import sys

from mmengine.config import Config

from mmuniqrnet.config import arguments_of, find_part
from mmuniqrnet.config.arguments import NOT_ARGUMENTS, TAKEN_BEFORE

# A page may show a part without its place in a config.
ALLOWED_ANYWHERE = NOT_ARGUMENTS.union(*TAKEN_BEFORE.values())


def check_config(path: str) -> None:
    """Read a config as the tools do, and check its parts."""
    sys.path.insert(0, '')
    assert check_parts(Config.fromfile(path).to_dict()), f'{path} names no part at all'


def check_parts(value: object, place: tuple[str, ...] = ()) -> int:
    """Assert that each dict with a ``type``, however deep, names a registered part and its arguments; how many."""
    if isinstance(value, list | tuple):
        return sum(check_parts(inner, place) for inner in value)
    if not isinstance(value, dict):
        return 0
    kind = value.get('type')
    if isinstance(kind, str):
        assert find_part(kind, place), f'there is no {kind!r} in any registry'
        known = arguments_of(value, place)
        unknown = set() if known is None else set(value) - known - ALLOWED_ANYWHERE
        assert not unknown, f'{kind} takes no {", ".join(sorted(unknown))}'
    return isinstance(kind, str) + sum(check_parts(inner, (*place, key)) for key, inner in value.items())
