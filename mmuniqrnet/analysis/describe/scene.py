"""The objects of each picture of a file in COCO's format, and which categories are annotated there."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mmuniqrnet.datasets.coco_files import check_coco
from mmuniqrnet.datasets.objects import Repairs, read_object
from mmuniqrnet.structures.masks import Mask, mask_to_box
from mmuniqrnet.utils.errors import UserError


@dataclass(frozen=True)
class Thing:
    """One annotated object.

    Attributes:
        category: The category's name, as :func:`plain_name` writes it.
        box: (x1, y1, x2, y2), edges in pixels.
        mask: Polygons or RLE; None if it has none.
        crowd: Whether this is a region with several objects (``iscrowd``).
    """

    category: str
    box: tuple[float, float, float, float]
    mask: Mask | None = None
    crowd: bool = False


@dataclass(frozen=True)
class Picture:
    """One picture and its objects.

    Attributes:
        annotated: The categories of which all objects are annotated here; None = all categories of the file.
        categories: All categories of the file.
    """

    file_name: str
    width: int
    height: int
    things: tuple[Thing, ...]
    categories: frozenset[str]
    annotated: frozenset[str] | None = None

    def knows(self, category: str) -> bool:
        """Whether all objects of the category are annotated; a category that the file lacks is not."""
        return category in (self.categories if self.annotated is None else self.annotated)


def plain_name(name: str) -> str:
    """A category's name in lower case, with spaces: "Traffic_light" is "traffic light"."""
    return ' '.join(name.replace('_', ' ').lower().split())


def read_pictures(
    coco: Mapping,
    where: str = 'the annotations',
    annotated: Collection[str] = (),
    repairs: Repairs | None = None,
    aliases: Mapping[str, str] = {},
) -> list[Picture]:
    """The pictures of a COCO file that have an object, in the order of ``images``.

    Images with the same ``file_name`` are one picture. An image can say that only some categories are annotated:
    ``"persons_only": true``; ``"annotated_categories"``, a list of names; or LVIS's ``"neg_category_ids"`` (the
    annotated categories are these and those of its objects) and ``"not_exhaustive_category_ids"``.

    Args:
        coco: The content of the file.
        where: Its name, for messages.
        annotated: The only categories that are annotated on any image, by name; empty = all.
        repairs: Counts what is changed in boxes and masks.
        aliases: Other names of categories, from such a name to the one that is used.

    Raises:
        UserError: The annotations are malformed, a box or mask cannot be read, or ``annotated`` names a category that
            the file does not have.
    """
    check_coco(coco, where, categories=True, unique=('images', 'categories'))
    repairs = Repairs() if repairs is None else repairs
    names = {category['id']: _one_name(category['name'], aliases) for category in coco['categories']}
    for category in coco['categories']:
        if not names[category['id']]:
            raise UserError(f'{where}: the name of category {category["id"]}, {category["name"]!r}, has no word.')
    known = frozenset(names.values())
    everywhere = (
        _known_names([_one_name(name, aliases) for name in annotated], known, where, 'the annotated categories')
        if annotated
        else None
    )
    by_image: dict[Any, list[Mapping]] = {}
    for annotation in coco['annotations']:
        by_image.setdefault(annotation['image_id'], []).append(annotation)
    merged: dict[str, Picture] = {}
    for image in coco['images']:
        own = by_image.get(image['id'], [])
        if not own:
            continue
        width, height = _size(image, where)
        limits = [
            limit
            for limit in (everywhere, _annotated_of(image, own, names, known, where, aliases))
            if limit is not None
        ]
        things = tuple(_thing(annotation, image, names, repairs) for annotation in own)
        key = os.path.normpath(image['file_name'])
        if key in merged:
            twin = merged[key]
            things += twin.things
            limits += [] if twin.annotated is None else [twin.annotated]
        limit = frozenset.intersection(*limits) if limits else None
        merged[key] = Picture(image['file_name'], width, height, things, known, limit)
    return list(merged.values())


def _thing(annotation: Mapping, image: Mapping, names: Mapping, repairs: Repairs) -> Thing:
    try:
        instance = read_object(annotation, image, repairs)
    except UserError as error:
        raise UserError(f'ann_id {annotation.get("id", "(none)")} on image {image["file_name"]}: {error}.') from None
    crowd = annotation.get('iscrowd', 0)
    if crowd not in (0, 1):
        raise UserError(
            f'ann_id {annotation.get("id", "(none)")} on image {image["file_name"]}: "iscrowd" should be 0 or 1, not '
            f'{crowd!r}.'
        )
    mask = instance.get('mask')
    x1, y1, x2, y2 = instance['bbox'] if 'bbox' in instance else mask_to_box(instance['mask'])
    return Thing(names[annotation['category_id']], (x1, y1, x2, y2), mask, bool(crowd))


def _size(image: Mapping, where: str) -> tuple[int, int]:
    sides = [image.get(key) for key in ('width', 'height')]
    if not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides):
        raise UserError(
            f'{where}: image {image["file_name"]} should have "width" and "height", positive whole numbers: places '
            'in the image are told from them.'
        )
    return sides[0], sides[1]  # type: ignore[return-value]


def _annotated_of(
    image: Mapping, own: list[Mapping], names: Mapping, known: frozenset[str], where: str, aliases: Mapping[str, str]
) -> frozenset[str] | None:
    """The categories that this image says are annotated; None if it says nothing."""
    name, limits = image['file_name'], []
    if not isinstance(image.get('persons_only', False), bool):
        raise UserError(f'{where}: "persons_only" of image {name} should be true or false.')
    for key in ('neg_category_ids', 'not_exhaustive_category_ids'):
        ids = image.get(key, [])
        if not isinstance(ids, list) or not all(isinstance(one, int | str) for one in ids):
            raise UserError(f'{where}: "{key}" of image {name} should be a list of ids of categories.')
    if image.get('persons_only'):
        limits.append(_known_names([_one_name('person', aliases)], known, where, f'"persons_only" of image {name}'))
    if 'annotated_categories' in image:
        listed = image['annotated_categories']
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise UserError(f'{where}: "annotated_categories" of image {name} should be a list of category names.')
        listed = [_one_name(one, aliases) for one in listed]
        limits.append(_known_names(listed, known, where, f'"annotated_categories" of image {name}'))
    if 'neg_category_ids' in image:
        present = {annotation['category_id'] for annotation in own}
        limits.append(frozenset(names[one] for one in names if one in present or one in image['neg_category_ids']))
    if 'not_exhaustive_category_ids' in image:
        limits.append(known - {names[one] for one in image['not_exhaustive_category_ids'] if one in names})
    return frozenset.intersection(*limits) if limits else None


def _one_name(name: str, aliases: Mapping[str, str]) -> str:
    plain = plain_name(name)
    return aliases.get(plain, plain)


def _known_names(given: Collection[str], known: frozenset[str], where: str, what: str) -> frozenset[str]:
    wanted = frozenset(given)
    if wanted - known:
        raise UserError(
            f'{where}: {what}: there is no category {", ".join(sorted(wanted - known))}; the categories are '
            f'{", ".join(sorted(known))}.'
        )
    return wanted
