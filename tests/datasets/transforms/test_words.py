"""Misspelled words."""

import string

from mmuniqrnet.datasets.transforms.words import has_foreign_letters, one_error_away


def test_each_kind_of_error():
    near = one_error_away(['left'], ['lift'])
    assert {'eft', 'lft', 'elft', 'letf', 'keft', 'leaft', 'aleft', 'leftt', 'lefty'} <= near
    assert near.isdisjoint({'left', 'lift', 'right', 'le', 'eflt', 'telf', 'leaftt', 'Left'})


def test_the_number_of_errors():
    """A word of n different letters: n deletions, n - 1 exchanges, 25 n other letters, 26 (n + 1) - n insertions."""
    word = 'right'
    n = len(word)
    assert len(one_error_away([word], [])) == n + (n - 1) + 25 * n + 26 * (n + 1) - n
    assert all(set(near) <= set(string.ascii_lowercase) for near in one_error_away([word], []))


def test_letters_of_other_scripts():
    assert has_foreign_letters('左边') and has_foreign_letters('чашка') and has_foreign_letters('the 左 one')
    assert not any(has_foreign_letters(text) for text in ('', 'left', 'café Øß', 'the “left” – ☕', '3 > 2'))
