"""Every block of the pages is run as it stands, in a checkout in small; one that is marked as not run is read.

The mark is an HTML comment before the block, which no reader sees: ``<!-- not run: needs RefCOCO -->``. Likewise
``<!-- file: NAME -->`` saves a block under the name that the text tells the reader to save it as.
"""

import dataclasses
import shutil

import pytest
from block_runner import run_block
from doc_pages import Block, Page, all_pages
from warm_shell import WarmShell
from workplace import SMALLER, make_workplace

# Run by the tutorial's own test, which looks at what comes out.
ELSEWHERE = ('docs/tutorials/own_data.md',)
# What takes a minute, most of it in torch's exporter, is read by `make test` and run by `make test-slow`.
SLOW = ('docs/export.md',)
PAGES = [
    page
    for page in all_pages()
    if page.name not in ELSEWHERE and any(block.language in ('python', 'sh', 'json') for block in page.blocks)
]
RUN = [pytest.param(page, marks=pytest.mark.slow if page.name in SLOW else (), id=page.name) for page in PAGES]


@pytest.fixture(scope='module')
def checkout(tmp_path_factory, shell):
    """A function that copies the checkout in small to a new folder, and goes there."""
    folder = tmp_path_factory.mktemp('docs') / 'template'
    folder.mkdir()
    shell.enter(folder)
    make_workplace(folder, shell)

    def copy(name: str) -> WarmShell:
        shutil.copytree(folder, folder.parent / name, symlinks=True)
        shell.enter(folder.parent / name)
        return shell

    return copy


@pytest.mark.parametrize('page', RUN)
def test_blocks_of(page: Page, checkout):
    shell = checkout(page.name.replace('/', '_'))
    for block in page.blocks:
        run_block(block, shell, SMALLER)


@pytest.mark.parametrize('page', [page for page in PAGES if page.name in SLOW], ids=lambda page: page.name)
def test_blocks_of_slow(page: Page, checkout):
    shell = checkout(page.name.replace('/', '_') + '_read')
    for block in page.blocks:
        run_block(dataclasses.replace(block, mark='not run', note='slow'), shell)


@pytest.mark.parametrize(
    'language, code, mark',
    [
        ('sh', 'python tools/test.py configs/uniqrnet_swin-nano_refshapes.py nowhere.pth', ''),
        ('sh', 'python tools/test.py configs/uniqrnet_swin-nano_refshapes.py nowhere.pth --no-such-option', 'not run'),
        ('sh', 'torchrun --nproc_per_node=8 tools/train.py configs/no_such_config.py', ''),
        ('sh', 'make nonsense', ''),
        ('python', 'assert 1 + 1 == 3', ''),
        ('python', "dict(type='ReferDataset', no_such_keyword=1)", ''),
        ('python', "_base_ = './_base_/refcoco.py'\nmodel = dict(type='NoSuchModel')", 'not run'),
        ('json', '{"image": "a.png"', ''),
    ],
)
def test_wrong_blocks_are_found(language, code, mark, checkout, request):
    block = Block('wrong.md', 1, language, code, mark, mark and 'a reason')
    with pytest.raises((AssertionError, ValueError)):
        run_block(block, checkout(f'wrong{id(request)}'), SMALLER)


def test_most_blocks_are_run():
    """The marks stay few, and each says why."""
    marked = [block for page in all_pages() for block in page.blocks if block.mark in ('not run', 'fails')]
    run = [
        block for page in all_pages() for block in page.blocks if block.language in ('python', 'sh') and not block.mark
    ]
    assert all(len(block.note) > 5 for block in marked)
    assert len(marked) < len(run) / 3, [str(block) for block in marked]
