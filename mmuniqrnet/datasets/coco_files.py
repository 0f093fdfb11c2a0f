"""Files in COCO's format: their structure is checked once, when they are read."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from mmuniqrnet.utils.errors import UserError

from .annotation_files import load_json


def load_coco(path: str, lists: Iterable[str] = ('images', 'annotations'), **options: Any) -> dict:
    """Read a JSON object that has the given lists; ``options`` are those of ``load_json``.

    Raises:
        UserError: It has another structure.
    """
    content = load_json(path, **options)
    check_lists(content, path, lists)
    return content


def check_lists(content: object, where: str, lists: Iterable[str]) -> None:
    """Raise UserError unless ``content`` is an object that has these lists."""
    named = ' and '.join(f'"{name}"' for name in lists)
    if not isinstance(content, Mapping) or not all(name in content for name in lists):
        raise UserError(f"{where} should be a JSON object with {named}, as in COCO's format.")
    for name in lists:
        if not isinstance(content[name], list):
            raise UserError(f'{where}: "{name}" should be a list, not {type(content[name]).__name__}.')


def check_entries(entries: Iterable[Any], where: str, kind: str, keys: Sequence[str]) -> None:
    """Raise UserError unless each entry is an object with these keys, of which ``id`` is a number or a string."""
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise UserError(f'{where}: {kind} {number} should be an object, not {str(entry)[:60]}.')
        if any(key not in entry for key in keys):
            named = ' or '.join(f'"{key}"' for key in keys)
            raise UserError(f'{where}: {kind} {number} lacks {named}: {str(dict(entry))[:100]}.')
        for key in keys:
            is_id = key == 'id' or key.endswith('_id')
            wrong = not isinstance(entry[key], int | str) or isinstance(entry[key], bool) if is_id else False
            is_name = key in ('file_name', 'name')
            if wrong or (
                is_name and not (isinstance(entry[key], str) and entry[key].strip() and '\0' not in entry[key])
            ):
                raise UserError(f'{where}: "{key}" of {kind} {number} is {repr(entry[key])[:60]}.')


def repeated(ids: Iterable[Hashable]) -> list:
    """The ids that occur more than once, in the order in which they do."""
    seen: set[Hashable] = set()
    twice: dict[Hashable, None] = {}
    for one in ids:
        if one in seen:
            twice[one] = None
        seen.add(one)
    return list(twice)


def repeated_sentence(ids: Iterable[Hashable], where: str, kind: str, name: str = 'id') -> list[str]:
    """A list with one sentence that names the repeated ids; an empty list if no id is repeated."""
    twice = repeated(ids)
    if not twice:
        return []
    shown = ', '.join(map(str, twice[:3])) + (', ...' if len(twice) > 3 else '')
    return [f'{where}: {len(twice)} {name}(s) of {kind} are given more than once ({shown})']


def check_coco(content: Any, where: str, categories: bool = False, unique: Iterable[str] = ('images',)) -> None:
    """Check images, annotations and, if wanted, categories, and that they fit together.

    Args:
        content: The content of the file.
        where: The file's name, for messages.
        categories: Whether there must be categories.
        unique: The lists whose ids must be unique: of ``images``, ``annotations``, ``categories``.

    Raises:
        UserError: Something is missing, of another type, given twice, or refers to something that is not listed.
    """
    check_lists(content, where, ('images', 'annotations', *(['categories'] if categories else [])))
    check_entries(content['images'], where, 'image', ('id', 'file_name'))
    for image in content['images']:
        for key in ('width', 'height'):
            side = image.get(key)
            if side is not None and (not isinstance(side, int | float) or isinstance(side, bool) or not side > 0):
                raise UserError(f'{where}: "{key}" of image {image["file_name"]} should be positive, not {side!r}.')
    keys = ('image_id', *(['category_id'] if categories else []), *(['id'] if 'annotations' in unique else []))
    check_entries(content['annotations'], where, 'annotation', keys)
    if categories:
        check_entries(content['categories'], where, 'category', ('id', 'name'))
    for name in unique:
        for sentence in repeated_sentence([entry['id'] for entry in content[name]], where, name):
            raise UserError(f'{sentence}; give each its own id.')
    _check_references(content, where, 'image_id', 'images')
    if categories:
        _check_references(content, where, 'category_id', 'categories')


def _check_references(content: Mapping, where: str, key: str, listed: str) -> None:
    known = {entry['id'] for entry in content[listed]}
    for number, annotation in enumerate(content['annotations']):
        if annotation[key] not in known:
            name = f'id {annotation["id"]}' if 'id' in annotation else f'number {number}'
            raise UserError(f'{where}: annotation {name} has {key} {annotation[key]}, which "{listed}" does not list.')
