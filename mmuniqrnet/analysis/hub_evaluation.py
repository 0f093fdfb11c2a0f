"""RefCOCO-M and Ref-L4 from the Hugging Face hub: their files under a data root, their images, their counts."""

import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mmuniqrnet.datasets import ref_l4, refcoco_m
from mmuniqrnet.datasets.parquet_files import parquet_rows
from mmuniqrnet.datasets.published_counts import REF_L4, REFCOCO_M, REVIEWED
from mmuniqrnet.datasets.ref_l4 import RefL4Dataset
from mmuniqrnet.datasets.refcoco_m import ORIGIN, RefCOCOMDataset
from mmuniqrnet.datasets.reviewed import load_review
from mmuniqrnet.utils.errors import MissingFileError, UserError
from mmuniqrnet.utils.hub import HubAddress, download
from mmuniqrnet.utils.io import atomic_path, make_folder, refuse_overwriting
from mmuniqrnet.version import __version__

SOURCE, ARCHIVE = 'source.json', 'images.tar.gz'
REVIEWS = 'refcocos_annotation_reviewed'


class EvaluationSet(NamedTuple):
    """A repository of the hub, and which of its files are needed.

    Attributes:
        repo: Its name.
        patterns: The annotation files.
        columns: What its parquet files must have.
        images: What holds the images, to be downloaded as well if they are wanted; empty if ``patterns`` have them.
    """

    repo: str
    patterns: tuple[str, ...]
    columns: tuple[str, ...]
    images: tuple[str, ...] = ()


EVALUATION_SETS = {
    'refcoco-m': EvaluationSet('moondream/refcoco-m', ('*.parquet',), refcoco_m.COLUMNS),
    'ref-l4': EvaluationSet('JierunChen/Ref-L4', ('ref-l4-*.parquet', f'{REVIEWS}/*.json'), ref_l4.COLUMNS, (ARCHIVE,)),
}


def fetch(name: str, revision: str | None, images: bool) -> tuple[Path, str]:
    """Download the files of a set.

    Returns:
        Their folder, and the commit that they are of.

    Raises:
        UserError: See :func:`mmuniqrnet.utils.hub.download`.
    """
    wanted = EVALUATION_SETS[name]
    patterns = [*wanted.patterns, *(wanted.images if images else ())]
    folder = download(HubAddress(wanted.repo, revision), patterns, 'dataset', 'files that you have: --from FOLDER')
    return folder, folder.name


def place(name: str, folder: Path, out: Path, origin: Mapping[str, Any], overwrite: bool = False) -> list[Path]:
    """Copy the annotation files of a set to ``out``, each whole or not at all, and write ``source.json``, the last.

    Args:
        name: A key of ``EVALUATION_SETS``.
        folder: Where its files are; files in folders below are found too.
        out: Where they belong, such as ``data/ref-l4``; it is created.
        origin: What ``source.json`` says of the files besides their names and hashes.
        overwrite: Whether files of the same name may be replaced.

    Returns:
        The copies.

    Raises:
        UserError: There is no parquet file, a file cannot be read, or one exists already.
    """
    files = [path for pattern in EVALUATION_SETS[name].patterns for path in sorted(folder.rglob(pattern))]
    if not any(path.suffix == '.parquet' for path in files):
        raise MissingFileError(
            f'{folder} has no {EVALUATION_SETS[name].patterns[0]}, the files of {EVALUATION_SETS[name].repo}.'
        )
    for path in files:  # nothing is copied if one of them cannot be read
        if path.suffix == '.json':
            load_review(str(path))
        else:
            next(parquet_rows([path], EVALUATION_SETS[name].columns, EVALUATION_SETS[name].repo, batch_size=1), None)
    targets = [out / (f'{REVIEWS}/{path.name}' if path.suffix == '.json' else path.name) for path in files]
    for target in targets:
        make_folder(target.parent)
    for target in (*targets, out / SOURCE):
        refuse_overwriting(target, overwrite)
    hashes = {}
    for path, target in zip(files, targets):
        with atomic_path(target) as part:
            hashes[str(target.relative_to(out))] = _copy(path, part)
    written = datetime.now(timezone.utc).isoformat(timespec='seconds')
    source = dict(origin, sha256=hashes, written=written, written_by=f'mmuniqrnet {__version__}')
    with atomic_path(out / SOURCE) as part:
        part.write_text(json.dumps(source, indent=2) + '\n', encoding='utf-8')
    return targets


def _copy(path: Path, target: Path) -> str:
    """Copy a file, and return its SHA-256."""
    digest = hashlib.sha256()
    with path.open('rb') as source, target.open('wb') as file:
        while block := source.read(1 << 20):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def counts(name: str, out: Path) -> list[dict[str, Any]]:
    """Rows of a table: what was counted in the placed files, and what is published."""
    if name == 'refcoco-m':
        data = RefCOCOMDataset(ann_file=str(out), lazy_init=True)
        items, store = data.load_expressions()
        found = dict(images=len({item['img_id'] for item in items}), objects=len(store), expressions=len(items))
        return [dict(set='RefCOCO-M', count=what, found=found[what], published=n) for what, n in REFCOCO_M.items()]
    items, _ = RefL4Dataset(data_root=str(out), lazy_init=True).load_expressions()
    rows = [dict(set='Ref-L4', count='expressions', found=len(items), published=REF_L4['expressions'])]
    for dataset, published in REVIEWED.items():
        # 'refcoco_' is not the beginning of 'refcoco+_val_reviewed.json'.
        files = sorted((out / REVIEWS).glob(f'{dataset}_*_reviewed.json'))
        if files:
            qualities = [quality for path in files for found in load_review(str(path)).values() for quality in found]
            got = dict(expressions=len(qualities), wrong=sum(quality <= 0 for quality in qualities))
            rows += [
                dict(set=f'{dataset}, reviewed', count=what, found=got[what], published=n)
                for what, n in published.items()
            ]
    return rows


def write_images(name: str, folder: Path, out: Path) -> tuple[int, int]:
    """Write the images of a set to ``out/images``, under the names that its annotations have, as they were stored.

    Images that are there already are not written again, so that an interrupted call can be repeated.

    Args:
        name: A key of ``EVALUATION_SETS``.
        folder: Where its files are: for Ref-L4 the archive, for RefCOCO-M the parquet files.
        out: Where the annotations were placed.

    Returns:
        How many were written, and how many were there.

    Raises:
        UserError: There is no archive, a name is not that of a file, or an image has no content.
    """
    target = out / 'images'
    make_folder(target)
    written = there = 0
    for image, content in _images(name, folder, out):
        path = target / image
        if path.exists():
            there += 1
            continue
        with atomic_path(path) as part:
            part.write_bytes(content())
        written += 1
    return written, there


def _images(name: str, folder: Path, out: Path) -> Iterator[tuple[str, Any]]:
    """Name of each image, and a function that reads its bytes."""
    if name == 'refcoco-m':
        files = sorted(folder.rglob('*.parquet'))
        for where, row in parquet_rows(files, ('file_name', 'image'), ORIGIN, batch_size=32):
            content = row['image'].get('bytes') if isinstance(row['image'], dict) else row['image']
            if not isinstance(content, bytes) or not content:
                raise UserError(f'{where}: "image" has no bytes.')
            yield _plain_name(row['file_name'], where), lambda content=content: content
        return
    archives = sorted(folder.rglob(ARCHIVE))
    if not archives:
        raise MissingFileError(f'{folder} has no {ARCHIVE}, the images of {EVALUATION_SETS[name].repo}.')
    items, _ = RefL4Dataset(data_root=str(out), lazy_init=True).load_expressions()
    wanted = {PurePosixPath(item['img_path']).name for item in items}
    yield from _members(archives[0], wanted)


def _members(archive: Path, wanted: Iterable[str]) -> Iterator[tuple[str, Any]]:
    missing = set(wanted)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                image = PurePosixPath(member.name).name
                if member.isfile() and image in missing:
                    missing.discard(image)
                    yield image, tar.extractfile(member).read  # type: ignore[union-attr]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f'{archive} cannot be read ({error}); it may be cut off: download it again.') from None
    if missing:
        raise UserError(f'{archive} lacks {len(missing):,} images that the annotations name, such as {min(missing)}.')


def _plain_name(name: Any, where: str) -> str:
    if not isinstance(name, str) or not name or PurePosixPath(name).name != name or '\\' in name:
        raise UserError(f'{where}: "file_name" should be the name of a file, not {name!r}.')
    return name
