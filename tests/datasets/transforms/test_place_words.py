"""crop_may_falsify: what is said stays true in a crop that keeps the object, or there is no crop."""

import time

import pytest
from helpers.real_expressions import needs_expressions, real_expressions

from mmuniqrnet.datasets.transforms import GuardedCrop, crop_may_falsify

FALSE_IN_A_CROP = [
    # places
    'Left cup',
    'topleft',
    'bottomright corner',
    'the one in themiddle',
    'center',
    'CENTRE',
    'upper cup',
    'lower cup',
    'cup on the edge',
    'low cloud',
    'on the side',
    'at 3 o clock',
    'cup at 9',
    '900 guy',
    'tree on rt',
    'east side',
    'cup out of frame',
    'midle one',
    'botom cup',
    'elft cup',
    '左边的杯子',
    # rows and counts
    'front row',
    'on the end',
    'second cup',
    '3rd one',
    'number 4',
    'two men',
    'both cups',
    # how much is seen
    'guy cut off',
    'partial cup',
    'half of a man',
    'the whole cup',
    'you can only see his arm',
    'barely visible man',
    'man with no head',
    # compared sizes
    'biggest cup',
    'smaller dog',
    'tallest',
]
TRUE_IN_A_CROP = [
    'red cup',
    'bright upright cup',
    'closest cup',
    'front cup',
    'cup in front',
    'highest cup',
    'cup behind the laptop',
    'flower',
    'power tower',
    'knowledge',
    'hedge by the ledge',
    'stop sign on a laptop',
    'rear end of horse',
    'end table',
    'midget',
    'player 13',
    'high chair',
    'far man',
    'man with a hat next to her',
    'side of the road',
    'sidewalk',
    'button on the counter',
    'tall man at night',
]


@pytest.mark.parametrize('text', FALSE_IN_A_CROP)
def test_what_depends_on_what_is_cut_away(text):
    assert crop_may_falsify(text)


@pytest.mark.parametrize('text', TRUE_IN_A_CROP)
def test_what_stays_true(text):
    assert not crop_may_falsify(text)


@needs_expressions
@pytest.mark.parametrize('name, most', [('refcoco', 0.60), ('refcoco+', 0.17), ('referit', 0.52)])
def test_real_expressions(name, most):
    texts = real_expressions()[name]
    start = time.process_time()
    forbidden = [crop_may_falsify(text) for text in texts]
    seconds = (time.process_time() - start) / len(texts)
    published = GuardedCrop()
    assert all(found for text, found in zip(texts, forbidden) if published.forbids(text))
    assert sum(forbidden) < most * len(texts)
    assert seconds < 50e-6
