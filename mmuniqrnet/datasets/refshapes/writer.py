"""Writing RefShapes into an empty folder, in the layout of REFER.

``images/<split>/000000.png``, ``instances.json`` (COCO's format, masks as compressed RLE), ``refs.json`` (the list
that REFER keeps in ``refs(unc).p``; each sentence also has its ``kind``) and ``info.json`` (settings, counts and the
text-blind accuracy). Every byte follows from the seed and the number of images.
"""

import hashlib
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from pycocotools import mask as mask_utils

from mmuniqrnet.datasets.text_blind import text_blind_accuracy

from .expressions import Expression, describe
from .facts import KINDS
from .no_target import KIND as NO_TARGET
from .no_target import describe_nothing
from .scene import SHAPES, Layout, draw_layout, paint

GENERATOR = 'RefShapes'
# Increased with every change of the data.
VERSION = 1


class SplitPlan(NamedTuple):
    """``stream`` makes the random numbers of the splits independent; ``twins`` allows objects with equal attributes."""

    stream: int
    num_images: int
    kinds: tuple[str, ...]
    expressions_per_object: int
    twins: bool


PLANS = {
    'train': SplitPlan(0, 8000, KINDS, 2, True),
    'val': SplitPlan(1, 500, KINDS, 1, True),
    'testA': SplitPlan(2, 400, ('attribute',), 1, False),
    'testB': SplitPlan(3, 400, ('place', 'relation'), 1, True),
}
DEFAULT_NUM_IMAGES = {split: plan.num_images for split, plan in PLANS.items()}
CATEGORIES = [dict(id=k, name=shape, supercategory='shape') for k, shape in enumerate(SHAPES, 1)]
CATEGORY_IDS = {category['name']: category['id'] for category in CATEGORIES}
# The annotation of an expression without a target, as in gRefCOCO's refs.
NOTHING = dict(id=[-1], category_id=[-1])


def draw_scene(
    seed: int, split: str, index: int, crowded: bool = False
) -> tuple[np.ndarray, Layout, list[list[Expression]]]:
    """Image ``index`` of ``split``: the picture (H, W, 3) uint8 BGR, its layout, and the expressions of each object.

    The result depends only on the arguments, not on the number of images.
    """
    plan = PLANS[split]
    rng = np.random.default_rng(_seeds(seed, split, index, crowded))
    described = None
    while described is None:
        layout = draw_layout(rng, plan.twins, crowded)
        described = describe(layout, plan.kinds, plan.expressions_per_object, rng)
    return paint(rng, layout), layout, described


def _seeds(seed: int, split: str, index: int, crowded: bool, purpose: tuple[int, ...] = ()) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, PLANS[split].stream, index, *[1] * crowded], spawn_key=purpose)


def draw_nothing(
    seed: int, split: str, index: int, crowded: bool, layout: Layout, num_others: int, share: float
) -> list[Expression]:
    """Expressions that fit nothing on image ``index`` of ``split``.

    Their number depends on the ``num_others`` other expressions of the image, so that over all images they are
    ``share`` of all expressions. Their random numbers are independent of those of the rest of the data.
    """
    rng = np.random.default_rng(_seeds(seed, split, index, crowded, purpose=(1,)))
    count = int(num_others * share / (1 - share) + rng.random())
    return describe_nothing(layout, PLANS[split].kinds, count, rng)


def write_refshapes(
    folder: Path, seed: int, num_images: dict[str, int], crowded: bool, no_target: float, workers: int
) -> dict:
    """Write the whole data set into the empty ``folder``; returns the content of ``info.json``.

    Args:
        folder: exists and is empty.
        seed: non-negative.
        num_images: images of each split.
        crowded: see ``draw_layout``.
        no_target: share of the expressions that fit no object. The rest of the data does not depend on it.
        workers: number of processes; the data does not depend on it.
    """
    images: list[dict] = []
    annotations: list[dict] = []
    refs: list[dict] = []
    nothing: list[tuple[dict, str, Expression]] = []
    splits: dict[str, dict] = {}
    fingerprint = hashlib.sha256()
    num_sentences = 0
    with _mapping(workers) as run:
        for split, count in num_images.items():
            (folder / 'images' / split).mkdir(parents=True)
            first_ref, first_nothing = len(refs), len(nothing)
            jobs = [(folder, seed, split, index, crowded, no_target) for index in range(count)]
            for scene in run(_write_scene, jobs):
                image_id = len(images) + 1
                fingerprint.update(scene['digest'])
                images.append(dict(scene['image'], id=image_id))
                for annotation, expressions in zip(scene['annotations'], scene['expressions']):
                    annotation.update(id=len(annotations) + 1, image_id=image_id)
                    annotations.append(annotation)
                    refs.append(_ref(len(refs) + 1, annotation, images[-1], split, expressions, num_sentences))
                    num_sentences += len(expressions)
                nothing += [(images[-1], split, expression) for expression in scene['nothing']]
            splits[split] = _summary(refs[first_ref:], annotations, len(nothing) - first_nothing)
    # Last, so that the ids of the others do not depend on them.
    for image, split, expression in nothing:
        annotation = dict(NOTHING, image_id=image['id'])
        refs.append(_ref(len(refs) + 1, annotation, image, split, [expression], num_sentences))
        num_sentences += 1
    info = dict(
        generator=GENERATOR,
        version=VERSION,
        seed=seed,
        num_images=num_images,
        splits=splits,
        fingerprint=fingerprint.hexdigest(),
    )
    if crowded:
        info['crowded'] = True
    if no_target:
        info['no_target'] = no_target
    described = dict(description=f'{GENERATOR}, version {VERSION}, seed {seed}')
    _write_json(
        folder / 'instances.json', dict(info=described, images=images, annotations=annotations, categories=CATEGORIES)
    )
    _write_json(folder / 'refs.json', refs)
    _write_json(folder / 'info.json', info, indent=2)
    return info


def _write_scene(job: tuple[Path, int, str, int, bool, float]) -> dict:
    folder, seed, split, index, crowded, no_target = job
    picture, layout, expressions = draw_scene(seed, split, index, crowded)
    num_others = sum(map(len, expressions))
    nothing = draw_nothing(seed, split, index, crowded, layout, num_others, no_target) if no_target else []
    name = f'{split}/{index:06d}.png'
    encoded, png = cv2.imencode('.png', picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not encoded:
        raise RuntimeError(f'OpenCV could not encode {name} as PNG.')
    (folder / 'images' / name).write_bytes(png.tobytes())
    masks = np.stack([placed.mask for placed in layout.objects], -1).astype(np.uint8)
    annotations = [
        dict(
            category_id=CATEGORY_IDS[placed.shape],
            bbox=[float(value) for value in placed.bbox],
            area=int(rle_area),
            iscrowd=0,
            segmentation=dict(size=rle['size'], counts=rle['counts'].decode('ascii')),
            attributes=dict(shape=placed.shape, color=placed.color),
        )
        for placed, rle, rle_area in zip(layout.objects, *_encode(masks))
    ]
    # The digest is of the pixels, not of the file, because OpenCV versions may compress differently.
    described = [name, annotations, expressions, *[nothing] * bool(no_target)]
    digest = hashlib.sha256(picture.tobytes() + json.dumps(described).encode())
    return dict(
        image=dict(file_name=name, height=layout.height, width=layout.width),
        annotations=annotations,
        expressions=expressions,
        nothing=nothing,
        digest=digest.digest(),
    )


def _encode(masks: np.ndarray) -> tuple[list[dict], np.ndarray]:
    rles = mask_utils.encode(np.asfortranarray(masks))
    return rles, mask_utils.area(rles)


def _ref(
    ref_id: int, annotation: dict, image: dict, split: str, expressions: list[Expression], first_sentence: int
) -> dict:
    sentences = [
        dict(sent_id=first_sentence + k, raw=one.raw, sent=' '.join(one.tokens), tokens=one.tokens, kind=one.kind)
        for k, one in enumerate(expressions)
    ]
    ref = dict(
        ref_id=ref_id,
        ann_id=annotation['id'],
        image_id=annotation['image_id'],
        category_id=annotation['category_id'],
        split=split,
        file_name=image['file_name'],
        sentences=sentences,
        sent_ids=[sentence['sent_id'] for sentence in sentences],
    )
    return ref | dict(no_target=True) if annotation['id'] == NOTHING['id'] else ref


def _summary(refs: list[dict], annotations: list[dict], num_nothing: int) -> dict:
    kinds = Counter(sentence['kind'] for ref in refs for sentence in ref['sentences'])
    items = []
    for ref in refs:
        x, y, w, h = annotations[ref['ann_id'] - 1]['bbox']
        items += [dict(img_id=ref['image_id'], instances=[dict(bbox=[x, y, x + w, y + h])])] * len(ref['sentences'])
    return dict(
        images=len({ref['image_id'] for ref in refs}),
        objects=len(refs),
        expressions=len(items) + num_nothing,
        kinds={kind: kinds[kind] for kind in KINDS} | ({NO_TARGET: num_nothing} if num_nothing else {}),
        text_blind_accuracy=round(text_blind_accuracy(items), 2) if items else None,
    )


@contextmanager
def _mapping(workers: int) -> Iterator[Callable]:
    """An ordered ``map`` over ``workers`` processes; the built-in one if processes can not be forked."""
    forkable = 'fork' in multiprocessing.get_all_start_methods() and not multiprocessing.current_process().daemon
    if workers == 1 or not forkable:
        yield map
        return
    with multiprocessing.get_context('fork').Pool(workers) as pool:
        yield lambda function, jobs: pool.imap(function, jobs, chunksize=32)


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _write_json(path: Path, content: dict | list, indent: int | None = None) -> None:
    separators = (',', ':') if indent is None else (',', ': ')
    path.write_text(json.dumps(content, indent=indent, separators=separators) + '\n', encoding='ascii')
