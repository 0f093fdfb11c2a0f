import re

import numpy as np
import pytest

from mmuniqrnet.utils.tables import markdown_table, text_table

ROWS = [
    {'set': 'refcoco/val', 'N': 7, 'mIoU': 75.625, 'note': None},
    {'set': 'a|b', 'N': 5, 'mIoU': np.float32(3), 'note': 'x\ny'},
    {'set': 'short', 'N': 0},
]


def test_text_by_hand():
    assert text_table(ROWS, decimals=dict(mIoU=1)).splitlines() == [
        'set          N  mIoU  note',
        'refcoco/val  7  75.6  -',
        'a|b          5   3.0  x y',
        'short        0     -  -',
    ]


def test_columns_are_chosen_ordered_and_aligned():
    assert text_table(ROWS, ['N', 'set'], right=['set']).splitlines() == [
        'N          set',
        '7  refcoco/val',
        '5          a|b',
        '0        short',
    ]


def test_wide_characters_keep_the_columns_in_line():
    """A Chinese character takes two places on a console."""
    assert text_table([dict(text='红色的', n=1), dict(text='red', n=2)]).splitlines()[1:] == ['红色的  1', 'red     2']


def test_markdown_is_read_by_a_parser_as_it_was_meant():
    markdown_it = pytest.importorskip('markdown_it')
    html = markdown_it.MarkdownIt().enable('table').render(markdown_table(ROWS))
    cells = re.findall(r'<t[hd][^>]*style="text-align:(left|right)"[^>]*>(.*?)</t[hd]>', html)
    alignments = ['left', 'right', 'right', 'left']
    assert [cells[k : k + 4] for k in range(0, len(cells), 4)] == [
        list(zip(alignments, row))
        for row in (
            ['set', 'N', 'mIoU', 'note'],
            ['refcoco/val', '7', '75.62', '-'],
            ['a|b', '5', '3.00', 'x y'],
            ['short', '0', '-', '-'],
        )
    ]
