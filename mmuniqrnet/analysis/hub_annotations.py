"""RefCOCO, RefCOCO+ and RefCOCOg from the parquet files of the Hugging Face hub, in the layout of the REFER toolkit.

The repositories ``jxu124/refcoco``, ``jxu124/refcocoplus`` and ``jxu124/refcocog`` have a row for each ref. The
annotations of objects that no expression refers to are not in them, so that ``instances.json`` is smaller than the
original.
"""

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from mmdet.datasets import CocoDataset

from mmuniqrnet.datasets.parquet_files import parquet_rows
from mmuniqrnet.structures.masks import xywh_to_xyxy
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.hub import HubAddress, download
from mmuniqrnet.utils.io import atomic_path, make_folder, refuse_overwriting
from mmuniqrnet.version import __version__

from .known_sets import KNOWN_SETS, OFFICIAL_COUNTS, KnownSet


class HubSet(NamedTuple):
    """Where the hub has a data set, and which of the official ways of splitting it that is."""

    repo: str
    known: KnownSet


HUB_SETS = {
    'refcoco': HubSet('jxu124/refcoco', KNOWN_SETS['refcoco(unc)']),
    'refcoco+': HubSet('jxu124/refcocoplus', KNOWN_SETS['refcoco+(unc)']),
    'refcocog': HubSet('jxu124/refcocog', KNOWN_SETS['refcocog(umd)']),
}
COLUMNS = ('ref_id', 'ann_id', 'image_id', 'split', 'sentences', 'raw_anns', 'raw_image_info')
SOURCE = 'source.json'
# Pixels; the boxes of a row are written twice, in two layouts.
TOLERANCE = 0.5
# COCO numbers its 80 categories from 1 to 90 with gaps.
GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
CATEGORIES = dict(zip([i for i in range(1, 91) if i not in GAPS], CocoDataset.METAINFO['classes']))


def fetch_parquet(name: str, revision: str | None) -> tuple[list[Path], str]:
    """Download the parquet files of a set.

    Returns:
        The files, and the commit that they are of.

    Raises:
        UserError: See :func:`mmuniqrnet.utils.hub.download`.
    """
    folder = download(
        HubAddress(HUB_SETS[name].repo, revision), ['*.parquet'], 'dataset', 'files that you have: --from FOLDER'
    )
    return sorted(folder.rglob('*.parquet')), folder.name


def convert(
    name: str, files: Sequence[Path], out: str | Path, origin: Mapping[str, Any], overwrite: bool = False
) -> list[str]:
    """Write ``instances.json``, ``refs(...).p`` and ``source.json`` of a set below a data root.

    All three are complete, or none is there.

    Args:
        name: A key of ``HUB_SETS``.
        files: Its parquet files.
        out: The data root, such as ``data``.
        origin: What ``source.json`` says of the files besides their names and hashes.
        overwrite: Whether files of the same name may be replaced.

    Returns:
        Sentences on what was left out.

    Raises:
        UserError: A file is not of this form, a row contradicts itself or another row, or a file exists already.
    """
    known = HUB_SETS[name].known
    targets = [Path(out, path) for path in (*known.files, f'{known.dataset_name}/{SOURCE}')]
    for target in targets:
        if target.exists():
            refuse_overwriting(target, overwrite)
    refs: dict[int, dict] = {}
    images: dict[int, dict] = {}
    annotations: dict[int, dict] = {}
    repeated = 0
    for where, row in parquet_rows(files, COLUMNS, ' or '.join(_repos()), optional=('bbox', 'file_name')):
        ref, image, annotation = _read_row(row, where, OFFICIAL_COUNTS[known.name])
        if ref['ref_id'] in refs:
            if refs[ref['ref_id']] != ref:
                raise UserError(f'{where}: ref_id {ref["ref_id"]} is in another row with other content.')
            repeated += 1
            continue
        refs[ref['ref_id']] = ref
        for table, entry, kind in ((images, image, 'image'), (annotations, annotation, 'annotation')):
            if table.setdefault(entry['id'], entry) != entry:
                raise UserError(f'{where}: {kind} {entry["id"]} is in another row with other content.')
    if not refs:
        raise UserError(f'{files[0].parent}: the parquet files have no rows.')
    instances = dict(
        info=dict(description=f'{known.name}, the objects that expressions refer to', source=dict(origin)),
        images=list(images.values()),
        annotations=list(annotations.values()),
        categories=[dict(id=number, name=label) for number, label in CATEGORIES.items()],
    )
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    written = datetime.now(timezone.utc).isoformat(timespec='seconds')
    source = dict(origin, sha256=hashes, written=written, written_by=f'mmuniqrnet {__version__}')
    make_folder(targets[0].parent)  # only now, so that files that can not be read leave no empty folder
    # Renamed when the block ends, source.json last; each temporary file is complete by then.
    with atomic_path(targets[2]) as third, atomic_path(targets[1]) as second, atomic_path(targets[0]) as first:
        first.write_text(json.dumps(instances), encoding='utf-8')
        second.write_bytes(pickle.dumps(list(refs.values()), protocol=2))
        third.write_text(json.dumps(source, indent=2) + '\n', encoding='utf-8')
    return [f'{repeated} rows were there twice with the same content; each is written once'] if repeated else []


def _read_row(row: Mapping[str, Any], where: str, splits: Mapping[str, Any]) -> tuple[dict, dict, dict]:
    """Ref, image and annotation of a row, in REFER's and COCO's form."""
    image, annotation = _object(row, 'raw_image_info', where), _object(row, 'raw_anns', where)
    ids = {key: _integer(row[key], key, where) for key in ('ref_id', 'ann_id', 'image_id')}
    for told, kind in ((image.get('id'), 'raw_image_info.id'), (annotation.get('image_id'), 'raw_anns.image_id')):
        if told != ids['image_id']:
            raise UserError(f'{where}: image_id is {ids["image_id"]}, but {kind} is {told}.')
    if annotation.get('id') != ids['ann_id']:
        raise UserError(f'{where}: ann_id is {ids["ann_id"]}, but raw_anns.id is {annotation.get("id")}.')
    box = row.get('bbox')
    if box is not None and isinstance(annotation.get('bbox'), list) and len(annotation['bbox']) == 4:
        # The row's box is xyxy, that of the annotation xywh.
        inside = xywh_to_xyxy(annotation['bbox'])
        if max(abs(a - b) for a, b in zip(inside, box)) > TOLERANCE:
            raise UserError(f'{where}: bbox (xyxy) is {list(box)}, but the box of raw_anns is {inside} in xyxy.')
    if row['split'] not in splits:
        raise UserError(f'{where}: split is {row["split"]!r}, not one of {", ".join(splits)}: is this another set?')
    if not row['sentences']:
        raise UserError(f'{where}: ref_id {ids["ref_id"]} has no sentences.')
    sentences = [{key: value for key, value in sentence.items() if value is not None} for sentence in row['sentences']]
    ref = dict(
        ids,
        split=row['split'],
        sentences=sentences,
        sent_ids=[sentence.get('sent_id') for sentence in sentences],
        category_id=annotation.get('category_id'),
    )
    if row.get('file_name'):
        ref['file_name'] = row['file_name']
    return ref, image, annotation


def _object(row: Mapping[str, Any], column: str, where: str) -> dict[str, Any]:
    """The JSON object in a column of text."""
    value = row[column]
    try:
        value = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UserError(f'{where}: {column} should hold a JSON object, not {str(row[column])[:60]!r}.')
    return value


def _integer(value: Any, key: str, where: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise UserError(f'{where}: {key} should be a number, not {value!r}.') from None


def _repos() -> list[str]:
    return [known.repo for known in HUB_SETS.values()]
