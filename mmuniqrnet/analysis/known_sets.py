"""The public data sets: where their files belong under a data root, their official counts, and how to load them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmuniqrnet.datasets.annotation_files import load_refs
from mmuniqrnet.datasets.base import BaseReferringDataset
from mmuniqrnet.datasets.refer import ReferDataset
from mmuniqrnet.datasets.referit import ReferItDataset
from mmuniqrnet.utils.errors import UserError

OFFICIAL_COUNTS: dict[str, dict[str, dict[str, int]]] = {
    'refcoco(unc)': {
        'train': dict(refs=42_404, expressions=120_624),
        'val': dict(refs=3_811, expressions=10_834, images=1_500),
        'testA': dict(refs=1_975, expressions=5_657, images=750),
        'testB': dict(refs=1_810, expressions=5_095, images=750),
    },
    'refcoco+(unc)': {
        'train': dict(expressions=120_191),
        'val': dict(refs=3_805, expressions=10_758, images=1_500),
        'testA': dict(refs=1_975, expressions=5_726, images=750),
        'testB': dict(refs=1_798, expressions=4_889, images=750),
    },
    'refcocog(umd)': {
        'train': dict(expressions=80_512),
        'val': dict(refs=2_573, expressions=4_896, images=1_300),
        'test': dict(refs=5_023, expressions=9_602, images=2_600),
    },
    'refcocog(google)': {
        'train': dict(expressions=85_474),
        'val': dict(expressions=9_536),
    },
    'referit(berkeley)': {
        'train': dict(expressions=54_127),
        'val': dict(expressions=5_842),
        'test': dict(expressions=60_103),
    },
}


REFER = 'the REFER toolkit, https://github.com/lichengunc/refer'
COCO = 'COCO, https://cocodataset.org/#download'
REFERIT = 'the JSON files of ReferItGame that go with "Segmentation from Natural Language Expressions", ECCV 2016'
SAIAPR = 'SAIAPR TC-12, https://www.imageclef.org/SIAPRdata'


@dataclass(frozen=True)
class KnownSet:
    """A public data set with one of its official ways of splitting it.

    Attributes:
        name: A key of ``OFFICIAL_COUNTS``: the data set, and in brackets who split it.
        files: Its annotation files, relative to the data root; the last one has the splits.
        images: The folder of its images, relative to the data root.
        num_images: How many images the complete folder has.
        source: Where its annotations come from.
        image_source: Where its images come from.
    """

    name: str
    files: tuple[str, ...]
    images: str
    num_images: int
    source: str
    image_source: str

    @property
    def dataset_name(self) -> str:
        """The name without the brackets."""
        return self.name.partition('(')[0]

    @property
    def official_splits(self) -> list[str]:
        return list(OFFICIAL_COUNTS[self.name])

    @property
    def image_collection(self) -> str:
        """Which collection its image ids belong to; ids of different collections may be equal by chance."""
        return 'saiapr' if self.dataset_name == 'referit' else 'coco'

    def missing(self, data_root: str) -> list[str]:
        """Its annotation files that are not under ``data_root``."""
        return [file for file in self.files if not os.path.isfile(os.path.join(data_root, file))]

    def splits_present(self, data_root: str) -> list[str]:
        """The official splits that its files have."""
        if self.dataset_name == 'referit':
            return self.official_splits  # each has its own file
        found = {ref.get('split') for ref in load_refs(os.path.join(data_root, self.files[-1]))}
        return [split for split in self.official_splits if split in found]

    def load(self, data_root: str, splits: Sequence[str], problems: list[str] | None = None) -> BaseReferringDataset:
        """The data set without a pipeline; whether the images exist is not checked.

        Args:
            data_root: The folder that its files are relative to.
            splits: The splits to load.
            problems: Problems of refs and objects are added to this list, and what can be read is loaded. By default
                UserError is raised.
        """
        common: dict[str, Any] = dict(
            data_root=data_root, split=list(splits), dataset_name=self.dataset_name, check_images=False
        )
        if self.dataset_name == 'referit':
            return _loader(ReferItDataset, problems)(
                ann_file='referit/referit_bbox.json',
                query_file='referit/referit_query_{split}.json',
                size_file='referit/referit_imsize.json',
                data_prefix=dict(img_path=self.images),
                **common,
            )
        ann_file, split_file = self.files
        return _loader(ReferDataset, problems)(
            ann_file=ann_file, split_file=split_file, data_prefix=dict(img_path=self.images), **common
        )


def _loader(dataset: type[BaseReferringDataset], problems: list[str] | None) -> type:
    """The class itself, or one that collects problems and goes on."""
    if problems is None:
        return dataset

    collected = problems

    class Collecting(dataset):  # type: ignore[misc, valid-type]
        def refuse(self, found: Sequence[str]) -> None:
            collected.extend(found)

    return Collecting


def _refer(name: str) -> KnownSet:
    dataset, _, split_by = name.rstrip(')').partition('(')
    return KnownSet(
        name, (f'{dataset}/instances.json', f'{dataset}/refs({split_by}).p'), 'coco/train2014', 82_783, REFER, COCO
    )


KNOWN_SETS = {
    known.name: known
    for known in (
        *map(_refer, ('refcoco(unc)', 'refcoco+(unc)', 'refcocog(umd)', 'refcocog(google)')),
        KnownSet(
            'referit(berkeley)',
            (
                'referit/referit_bbox.json',
                'referit/referit_imsize.json',
                *(f'referit/referit_query_{split}.json' for split in OFFICIAL_COUNTS['referit(berkeley)']),
            ),
            'referit/images',
            19_987,
            REFERIT,
            SAIAPR,
        ),
    )
}


def choose_sets(names: Sequence[str] | None = None) -> list[KnownSet]:
    """Known sets by name.

    Args:
        names: Names of known sets such as ``'refcocog(umd)'``, or of data sets such as ``'refcocog'``, which means all
            ways of splitting it; None = all known sets.

    Raises:
        ValueError: A name is unknown.
    """
    if not names:
        return list(KNOWN_SETS.values())
    chosen = []
    for name in names:
        found = [known for known in KNOWN_SETS.values() if name in (known.name, known.dataset_name)]
        if not found:
            raise UserError(f'there is no known data set {name!r}; known data sets are {", ".join(KNOWN_SETS)}.')
        chosen += [known for known in found if known not in chosen]
    return chosen
