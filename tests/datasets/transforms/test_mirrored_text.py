"""mirror_text: what is said of an image, said of the mirrored image, or nothing where it is in doubt."""

import time

import numpy as np
import pytest
from helpers.real_expressions import needs_expressions, real_expressions

from mmuniqrnet.datasets.refshapes.expressions import FORMS
from mmuniqrnet.datasets.transforms import mirror_text, swap_left_right
from mmuniqrnet.datasets.transforms.place_words import crop_may_falsify

MIRRORED = [
    ('man on the left', 'man on the right'),
    ('LEFT, Right-most (left)', 'RIGHT, Left-most (right)'),
    # inside words
    ('leftside chair, topleft', 'rightside chair, topright'),
    ('bottomright Upperleft farleft 2left', 'bottomleft Upperright farright 2right'),
    ('leftie leftish leftt leftr', 'rightie rightish rightt rightr'),
    ('topLeft', 'topRight'),
    ('guy onright, shadowrightbottom', 'guy onleft, shadowleftbottom'),
    ("the left's hat", "the right's hat"),
    # abbreviations, in pairs
    ('tree on rt', 'tree on lt'),
    ('Lft corner', 'Rght corner'),
    ('lef bird', 'righ bird'),
    ('bench on the R', 'bench on the L'),
    ('r side, top l', 'l side, top r'),
    # the face of a clock
    ("man at 3 o'clock", "man at 9 o'clock"),
    ('bowl 10 o clock', 'bowl 2 o clock'),
    ('4 oclock and 12 oclock', '8 oclock and 12 oclock'),
    ('bananas at Three o clock', 'bananas at Nine o clock'),
    ('9pm guy', '3pm guy'),
    ('donut at 9', 'donut at 3'),
    ('slice at 230', 'slice at 930'),
    ('slice at 1200', 'slice at 1200'),
    ('slice at 12:30', 'slice at 11:30'),
    # words that show that a direction is meant
    ('the man on right behind her', 'the man on left behind her'),
    ('the man on  right behind her', 'the man on  left behind her'),
    ('far left next to the wall', 'far right next to the wall'),
    ('second from left', 'second from right'),
    ('third bowl from the left', 'third bowl from the right'),
]
ALIKE = [
    'red cup',
    'bright copyright upright cleft',
    'Brightly lit',
    'leftover pizza',
    'the playwright',
    'light at night, height of the lift',
    'second row',
    'third from the top',
    'player 13',
    'water botle',
    '3 people',
    'clock on tower',
    'looking at us',
    '',
    'the “red” café ☕',
]
DOUBTFUL = [
    # nobody knows whether this is a direction
    'boy right behind the meter',
    'wall right next to her',
    'left above the door',
    'all right',
    'on all right',
    'on, right next',
    'right next to her',
    # other misspellings
    'rigth corner',
    'sky let',
    'elft man',
    'top rite',
    'righmost',
    'girl on le t',
    'lftmost cow',
    'toprt',
    'bottomlft guy',
    'ri ght swan',
    # letters that may be words
    'how r u',
    'l shaped couch',
    'the l-shaped one',
    'woman in lt blue',
    # may be hours
    'player 900',
    'horse 3',
    'at 9 facing us',
    'at 3 or 4 o clock',
    'at 4olcock',
    'cup at nine',
    # counted from where?
    'third bowl',
    'number 2',
    'last car',
    # other directions and other languages
    'northwest corner',
    'taza izquierda',
    'die linke Tasse',
    '左边的杯子',
    'левая чашка',
    'كوب left',
    # no way back
    'leFt',
    'upleft',
]


@pytest.mark.parametrize('text, mirrored', MIRRORED)
def test_sides_are_exchanged_and_keep_their_case(text, mirrored):
    assert mirror_text(text) == mirrored
    assert mirror_text(mirrored) == text


@pytest.mark.parametrize('text', ALIKE)
def test_an_expression_without_a_side_stays(text):
    assert mirror_text(text) == text


@pytest.mark.parametrize('text', DOUBTFUL)
def test_what_is_in_doubt_is_not_said(text):
    assert mirror_text(text) is None


@pytest.mark.parametrize('text', ['left', 'a', 'right ', 'right next ', 'x-', ' ', 'at 9 ', '9:30'])
def test_any_length_takes_little_time(text):
    text = text * (100_000 // len(text)) + ' right'
    start = time.process_time()
    mirror_text(text)
    crop_may_falsify(text)
    assert time.process_time() - start < 5


@pytest.mark.parametrize('hour', range(1, 13))
@pytest.mark.parametrize('minutes', ['', '00', '15', '30', ':45'])
def test_hours_lie_opposite_each_other(hour, minutes):
    """By the angle of the hour hand from the top, which a mirror negates."""

    def angle(text: str) -> float:
        digits = text.removeprefix('cup at ').replace(':', '')
        hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, 0)
        assert 1 <= int(hours) <= 12
        return np.deg2rad((int(hours) + int(minutes) / 60) * 30)

    text = f'cup at {hour}{minutes}'
    assert np.sin(angle(mirror_text(text))) == pytest.approx(-np.sin(angle(text)), abs=1e-9)
    assert np.cos(angle(mirror_text(text))) == pytest.approx(np.cos(angle(text)), abs=1e-9)


def test_refshapes_loses_no_flip():
    """Its only words for a side are whole words, so that both functions say the same of all its sentence forms."""
    forms = [form for kind in FORMS.values() for some in kind.values() for form in some]
    texts = [form.format(np='red ring', shape='ring', color='red', anchor='the blue cross') for form in forms]
    assert len(texts) > 50
    assert [mirror_text(text) for text in texts] == [swap_left_right(text) for text in texts]


@needs_expressions
@pytest.mark.parametrize(
    'name, refused, step',
    [
        ('refcoco', 0.015, 1),
        ('refcoco+', 0.025, 1),
        ('referit', 0.015, 7),
        pytest.param('referit', 0.015, 1, marks=pytest.mark.slow),
    ],
)
def test_real_expressions(name, refused, step):
    texts = real_expressions()[name][::step]
    mirrored = [mirror_text(text) for text in texts]
    assert [mirror_text(text) for text in mirrored if text is not None] == [
        text for text, other in zip(texts, mirrored) if other is not None
    ]
    # Nearly all can still be flipped, and nothing that was exchanged before is overlooked.
    assert mirrored.count(None) < refused * len(texts)
    changed = [(text, other) for text, other in zip(texts, mirrored) if swap_left_right(text) != text]
    assert all(other != text for text, other in changed)
