"""RefShapes' expressions that fit nothing: do they, do their words give them away, and is the rest as it was?"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.refshapes_reader import COLORS, RELATION, RELATIONS, SHAPES, SYNONYMS, Thing, digests, named, understand
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope, init_default_scope

from mmuniqrnet.datasets import text_blind_by_set
from mmuniqrnet.datasets.refshapes import RefShapesDataset, make_refshapes
from mmuniqrnet.datasets.refshapes.vocabulary import vocabulary

SIZES = dict(train=120, val=40, testA=15, testB=15)
SHARE = 0.2


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('refshapes') / 'none'
    make_refshapes(folder, num_images=SIZES, no_target=SHARE, workers=1)
    return folder


@pytest.fixture(scope='module')
def refs(folder) -> list[dict]:
    return json.loads((folder / 'refs.json').read_text())


@pytest.fixture(scope='module')
def things(folder) -> dict[int, list[Thing]]:
    by_image = {}
    for annotation in json.loads((folder / 'instances.json').read_text())['annotations']:
        by_image.setdefault(annotation['image_id'], []).append(Thing(annotation))
    return by_image


def sentences(refs: list[dict], no_target: bool, split: str | None = None) -> list[dict]:
    return [
        sentence
        for ref in refs
        for sentence in ref['sentences']
        if ('no_target' in ref) == no_target and split in (None, ref['split'])
    ]


def reader(text: str, things: list[Thing]) -> set[int]:
    """``understand``, which also reads what fits nothing."""
    text = text.lower().replace(',', ' ')
    relation = RELATION.match(text)
    if not relation:
        return understand(text, things) if named(text, things) else set()
    axis, group, anchors = RELATIONS[relation[2]], named(relation[1], things), named(relation[3], things)
    if axis is None:
        return {thing.ann_id for thing in group} if anchors else set()
    return {thing.ann_id for thing in group for anchor in anchors if (thing.spot - anchor.spot) @ axis > 0}


def test_they_fit_nothing_in_their_image(refs, things):
    found = [(ref, ref['sentences'][0]) for ref in refs if 'no_target' in ref]
    assert len(found) > 200
    assert not [sentence['raw'] for ref, sentence in found if reader(sentence['raw'], things[ref['image_id']])]
    # The reader is not merely blind: it finds the target of the others.
    assert all(
        ref['ann_id'] in reader(sentence['raw'], things[ref['image_id']])
        for ref in refs
        if 'no_target' not in ref
        for sentence in ref['sentences']
    )


def test_all_reasons_occur_and_many_are_near_misses(refs, things):
    """No such colour or shape, no such pair of them though both are there, no such other object, not that way."""
    reasons = Counter()
    for ref in refs:
        if 'no_target' not in ref:
            continue
        text, around = ref['sentences'][0]['sent'], things[ref['image_id']]
        relation = RELATION.match(text)
        said = relation[1] if relation else text
        words = {SYNONYMS.get(word, word) for word in said.split()} & (SHAPES | COLORS)
        if named(said, around):
            absent = relation and not named(relation[3], around)
            reasons['no such other object' if absent else 'not there or not that way'] += 1
        elif words <= set.union(*(thing.words for thing in around)):
            reasons['no such pair'] += 1
        else:
            reasons['no such thing'] += 1
    total = sum(reasons.values())
    assert len(reasons) == 4 and min(reasons.values()) > 0.04 * total
    assert reasons['no such pair'] > 0.1 * total


def test_the_rest_of_the_data_stays_the_same(folder, refs, tmp_path):
    make_refshapes(tmp_path / 'plain', num_images=SIZES, workers=2)
    plain, ours = digests(tmp_path / 'plain'), digests(folder)
    assert {name for name in ours if ours[name] != plain[name]} == {'info.json', 'refs.json'}
    others = json.loads((tmp_path / 'plain' / 'refs.json').read_text())
    assert refs[: len(others)] == others and all(ref['no_target'] for ref in refs[len(others) :])
    info, before = (json.loads((where / 'info.json').read_text()) for where in (folder, tmp_path / 'plain'))
    assert info['fingerprint'] != before['fingerprint']
    for split, row in info['splits'].items():
        assert row['text_blind_accuracy'] == before['splits'][split]['text_blind_accuracy']
        assert row['objects'] == before['splits'][split]['objects']


def test_every_byte_follows_from_the_settings(folder, tmp_path):
    make_refshapes(tmp_path / 'again', num_images=SIZES, no_target=SHARE, workers=2)
    assert digests(tmp_path / 'again') == digests(folder)


def test_they_are_the_share_that_was_asked_for(folder, refs):
    info = json.loads((folder / 'info.json').read_text())
    assert info['no_target'] == SHARE
    for split in ('train', 'val'):
        none, some = (len(sentences(refs, absent, split)) for absent in (True, False))
        assert none / (none + some) == pytest.approx(SHARE, abs=0.03)
        assert info['splits'][split]['kinds']['none'] == none
        assert info['splits'][split]['expressions'] == none + some
    ids = [sentence['sent_id'] for ref in refs for sentence in ref['sentences']]
    assert ids == list(range(len(ids)))


def test_splits_keep_their_kinds_of_words(refs):
    assert not any(
        RELATION.match(one['sent']) or set(one['tokens']) & {'left', 'top', 'biggest', 'middle'}
        for one in sentences(refs, True, 'testA')
    )
    assert {one['kind'] for one in sentences(refs, True)} == {'none'}
    assert all(set(one['tokens']) <= set(vocabulary()) for one in sentences(refs, True))


def test_the_words_alone_do_not_give_them_away(refs):
    """Naive Bayes on words and pairs of words, trained on one split, hardly tells them apart on another."""

    def features(sentence: dict) -> set[str]:
        return {*sentence['tokens'], *(f'{a} {b}' for a, b in zip(sentence['tokens'], sentence['tokens'][1:]))}

    counts, numbers = [], []
    for absent in (False, True):
        known = sentences(refs, absent, 'train')
        counts.append(Counter(feature for one in known for feature in features(one)))
        numbers.append(len(known))

    def score(sentence: dict) -> float:
        return sum(
            np.log((counts[1][word] + 1) / (numbers[1] + 2)) - np.log((counts[0][word] + 1) / (numbers[0] + 2))
            for word in features(sentence)
        )

    some, none = (np.array([score(one) for one in sentences(refs, absent, 'val')]) for absent in (False, True))
    auroc = (none[:, None] > some).mean() + (none[:, None] == some).mean() / 2
    assert auroc < 0.65


@pytest.mark.parametrize('share', [-0.1, 1, True, '0.2'])
def test_impossible_shares(tmp_path, share):
    with pytest.raises(ValueError, match='no_target is a share of the expressions, 0 or more and less than 1'):
        make_refshapes(tmp_path / 'data', num_images=dict(val=1), no_target=share)


def test_another_share_is_another_data_set(folder):
    with pytest.raises(FileExistsError, match=r'made with no_target=0.2, not 0'):
        RefShapesDataset(str(folder), 'val')
    assert len(RefShapesDataset(str(folder), 'val', no_target=SHARE, generate=False)) > 0


def test_items_pass_the_pipelines_with_nothing_in_them(folder):
    init_default_scope('mmuniqrnet')
    pipeline = Compose(
        [
            dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
            dict(type='LoadReferAnnotations'),
            dict(type='GuardedCrop', prob=1.0, short_sides=(64,), crop_size=(48, 60)),
            dict(type='ReferResize', scale=(64, 64), keep_ratio=True),
            dict(type='RandomFlipWithText', prob=1.0),
            dict(type='PackReferInputs'),
        ]
    )
    DefaultScope._instance_dict.clear()
    dataset = RefShapesDataset(str(folder), 'val', no_target=SHARE)
    items = [dataset.get_data_info(index) for index in range(len(dataset))]
    none = [item for item in items if not item['instances']]
    assert len(none) == len(dataset) - len(
        RefShapesDataset(str(folder), 'val', no_target=SHARE, filter_cfg=dict(filter_empty_gt=True))
    )
    for item in none[:5]:
        sample = pipeline(item)['data_samples']
        assert len(sample.gt_instances) == 0 and sample.instances == []
        assert sample.gt_instances.masks.masks.shape == (0, *sample.img_shape)
    assert text_blind_by_set(dataset)['refshapes/val'] < 40
