"""Whether the parts that a config names are registered and take what it gives them."""

import sys
from collections.abc import Iterator

from mmengine.config import Config

from mmuniqrnet.config import arguments_of, find_part
from mmuniqrnet.config.arguments import NOT_ARGUMENTS, TAKEN_BEFORE

# A page may show a part without its place in a config.
ALLOWED_ANYWHERE = NOT_ARGUMENTS.union(*TAKEN_BEFORE.values())


def check_config(path: str) -> None:
    """Read a config as the tools do, and check its parts."""
    sys.path.insert(0, '')
    assert check_parts(Config.fromfile(path).to_dict()), f'{path} names no part at all'


def parts_of(value: object, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Every dict with a ``type`` in a value, however deep, with the keys on the way to it."""
    if isinstance(value, dict):
        if isinstance(value.get('type'), str):
            yield place, value
        for key, inner in value.items():
            yield from parts_of(inner, (*place, key))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from parts_of(inner, place)


def check_parts(value: object) -> int:
    """Assert that each part is registered and has the keywords that it is given; how many there were."""
    count = 0
    for place, part in parts_of(value):
        assert find_part(part['type'], place), f'there is no {part["type"]!r} in any registry'
        known = arguments_of(part, place)
        unknown = set() if known is None else set(part) - known - ALLOWED_ANYWHERE
        assert not unknown, f'{part["type"]} takes no {", ".join(sorted(unknown))}'
        count += 1
    return count
