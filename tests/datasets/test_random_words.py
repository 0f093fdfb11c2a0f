from collections import Counter

import numpy as np
import pytest

from mmuniqrnet.datasets.random_words import Draw


def test_choices_are_as_frequent_as_asked():
    draw = Draw(np.random.default_rng(0))
    picked = Counter(draw.pick('aab') for _ in range(3000))
    weighted = Counter(draw.weighted({'a': 2.0, 'b': 1.0, 'never': 0.0}) for _ in range(3000))
    assert [counts['a'] / 3000 for counts in (picked, weighted)] == pytest.approx([2 / 3] * 2, abs=0.03)
    assert weighted['never'] == 0
    assert sum(draw.chance(0.25) for _ in range(3000)) / 3000 == pytest.approx(0.25, abs=0.03)


def test_each_choice_takes_one_number():
    draw, other = Draw(np.random.default_rng(1)), np.random.default_rng(1)
    draw.pick('abc')
    draw.chance(0.5)
    draw.weighted({'a': 1.0, 'b': 3.0})
    other.random(3)
    assert draw.rng.random() == other.random()
