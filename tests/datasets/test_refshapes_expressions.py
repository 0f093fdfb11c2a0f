"""Do RefShapes' expressions mean what they should? Judged from the files: the words and the decoded masks."""

import json
import re
from pathlib import Path

import pytest
from helpers.refshapes_reader import BIG, DIRECTIONS, EXTREMES, RELATION, RELATIONS, SMALL, Thing, named, understand

from mmuniqrnet.datasets.refshapes import make_refshapes

MIRRORED = {'left': 'right', 'right': 'left', 'leftmost': 'rightmost', 'rightmost': 'leftmost'}


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('refshapes') / 'data'
    make_refshapes(folder, seed=7, num_images=dict(train=150, val=50, testA=60, testB=100), workers=1)
    return folder


@pytest.fixture(scope='module')
def refs(folder: Path) -> list[dict]:
    return json.loads((folder / 'refs.json').read_text())


@pytest.fixture(scope='module')
def annotations(folder: Path) -> dict[int, list[dict]]:
    by_image = {}
    for annotation in json.loads((folder / 'instances.json').read_text())['annotations']:
        by_image.setdefault(annotation['image_id'], []).append(annotation)
    return by_image


def test_each_expression_fits_its_target_and_nothing_else(refs, annotations):
    things = {image_id: [Thing(one) for one in found] for image_id, found in annotations.items()}
    wrong = [
        (ref['file_name'], sentence['raw'])
        for ref in refs
        for sentence in ref['sentences']
        if understand(sentence['raw'], things[ref['image_id']]) != {ref['ann_id']}
    ]
    assert not wrong


def test_mirrored_expressions_fit_mirrored_images(refs, annotations):
    things = {image_id: [Thing(one, mirror=True) for one in found] for image_id, found in annotations.items()}

    def mirror(text: str) -> str:
        return ' '.join(MIRRORED.get(word, word) for word in text.lower().replace(',', ' ').split())

    swapped = sum(mirror(sentence['raw']) != sentence['sent'] for ref in refs for sentence in ref['sentences'])
    assert swapped > 200
    wrong = [
        sentence['raw']
        for ref in refs
        for sentence in ref['sentences']
        if understand(mirror(sentence['raw']), things[ref['image_id']]) != {ref['ann_id']}
    ]
    assert not wrong


def test_place_and_relation_hold_by_a_margin(refs, annotations):
    things = {image_id: [Thing(one) for one in found] for image_id, found in annotations.items()}
    checked = 0
    for ref in refs:
        around = things[ref['image_id']]
        target = next(thing for thing in around if thing.ann_id == ref['ann_id'])
        for sentence in ref['sentences']:
            text = sentence['sent']
            relation = RELATION.match(text)
            if relation and RELATIONS[relation[2]] is not None:
                (anchor,) = named(relation[3], around)
                assert (target.spot - anchor.spot) @ RELATIONS[relation[2]] >= 0.08, text
                checked += 1
            elif not relation:
                for phrase in (phrase for phrase in EXTREMES if re.search(rf'\b{phrase}\b', text)):
                    others = [thing for thing in named(text, around) if thing is not target]
                    assert others, f'"{text}" needs more than one to choose from'
                    assert min((target.spot - other.spot) @ EXTREMES[phrase] for other in others) >= 0.08, text
                    checked += 1
    assert checked > 200


def test_kind_is_what_the_words_say(refs):
    place_words = {*EXTREMES, *DIRECTIONS, 'far', 'middle', 'center'}
    for sentence in (sentence for ref in refs for sentence in ref['sentences']):
        words = set(sentence['tokens'])
        if RELATION.match(sentence['sent']):
            kind = 'relation'
        elif words & place_words:
            kind = 'place'
        else:
            kind = 'size' if words & (BIG | SMALL) else 'attribute'
        assert sentence['kind'] == kind, sentence['raw']


def test_splits_have_their_kinds(refs):
    kinds = {
        split: {sentence['kind'] for ref in refs if ref['split'] == split for sentence in ref['sentences']}
        for split in ('train', 'val', 'testA', 'testB')
    }
    everything = {'attribute', 'place', 'relation', 'size'}
    assert kinds == dict(train=everything, val=everything, testA={'attribute'}, testB={'place', 'relation'})


def test_no_object_is_asked_for_more_often_than_its_neighbours(refs, annotations):
    asked = {ref['ann_id']: len(ref['sentences']) for ref in refs}
    for found in annotations.values():
        assert len({asked[one['id']] for one in found}) == 1


def test_distractors_share_words_with_the_target(annotations):
    for found in annotations.values():
        assert 3 <= len(found) <= 5
        for attribute in ('shape', 'color'):
            assert len({one['attributes'][attribute] for one in found}) < len(found)


def test_an_object_is_not_described_twice_in_the_same_words(refs):
    for ref in refs:
        raws = [sentence['raw'].lower() for sentence in ref['sentences']]
        assert len(set(raws)) == len(raws)
