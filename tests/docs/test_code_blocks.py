"""Every block of the pages is run as it is written, in a small checkout; one that is marked as not run is read.

The mark is an HTML comment before the block, which no reader sees: ``<!-- not run: needs RefCOCO -->``. Likewise
``<!-- file: NAME -->`` saves a block under the name that the text tells the reader to save it as.
"""

import shutil
from pathlib import Path

import pytest
from pages import ROOT, Page, all_pages
from running import run_page
from workplace import SMALLER, make_workplace

# Run by the tutorial's own test, which looks at what comes out.
ELSEWHERE = ('docs/tutorials/own_data.md', 'docs/tutorials/photographs.md')
# Takes a minute, most of it in torch's exporter: `make test` reads it, `make test-slow` runs it.
SLOW = ('docs/export.md',)
LANGUAGES = {'python', 'sh', 'json'}
PAGES = [
    page
    for page in all_pages()
    if page.name not in ELSEWHERE and LANGUAGES.intersection(block.language for block in page.blocks)
]


@pytest.fixture(scope='module')
def template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('template')
    make_workplace(folder)
    return folder


@pytest.fixture
def checkout(template, tmp_path) -> Path:
    return shutil.copytree(template, tmp_path / 'checkout', symlinks=True)


@pytest.mark.parametrize(
    'page',
    [pytest.param(page, marks=pytest.mark.slow if page.name in SLOW else (), id=page.name) for page in PAGES],
)
def test_blocks_of(page: Page, checkout):
    run_page(page, checkout, SMALLER)


@pytest.mark.parametrize('page', [page for page in PAGES if page.name in SLOW], ids=lambda page: page.name)
def test_blocks_of_slow(page: Page, checkout):
    run_page(page, checkout, read_only=True)


@pytest.mark.parametrize(
    'text',
    [
        '```sh\npython tools/test.py configs/uniqrnet_swin-nano_refshapes.py nowhere.pth\n```',
        '<!-- not run: a reason -->\n```sh\npython tools/test.py a.py b.pth --no-such-option\n```',
        '<!-- not run: a reason -->\n```sh\npython tools/test.py configs/no_such_config.py b.pth\n```',
        '```sh\ntorchrun --nproc_per_node=8 tools/train.py configs/no_such_config.py\n```',
        '```sh\ntorchrun --no-such-option tools/train.py configs/uniqrnet_swin-b_refcoco.py\n```',
        '```sh\nmake nonsense\n```',
        '```sh\nmake env NO_SUCH_VARIABLE=1\n```',
        '```sh\ngrep nothing nowhere.txt\n```',
        '```python\nassert 1 + 1 == 3\n```',
        '```python\nanswer = 1\n```\n\n- a list\n\n  ```python\n  assert answer == 2\n  ```',
        "```python\ndict(type='ReferDataset', no_such_keyword=1)\n```",
        "<!-- not run: a reason -->\n```python\n_base_ = './_base_/refcoco.py'\nmodel = dict(type='NoSuch')\n```",
        '<!-- not run: a reason -->\n```python\nno python\n```',
        '```json\n{"image": "a.png"\n```',
    ],
)
def test_wrong_blocks_are_found(text, checkout):
    with pytest.raises((AssertionError, SyntaxError, SystemExit, ValueError)):
        run_page(Page(ROOT / 'docs' / 'wrong.md', text), checkout, SMALLER)


def test_most_blocks_are_run():
    """The marks stay few, each says why, and every block is of a language that is run, or is named here."""
    blocks = [block for page in all_pages() for block in page.blocks]
    marked = [block for block in blocks if block.mark == 'not run']
    run = [block for block in blocks if block.language in ('python', 'sh') and not block.mark]
    assert all(len(block.note) > 5 for block in marked)
    assert len(marked) < len(run) / 3, [str(block) for block in marked]
    other = {block.language for block in blocks if not block.language.startswith('{')}
    assert other <= LANGUAGES | {'text', 'bibtex'}
