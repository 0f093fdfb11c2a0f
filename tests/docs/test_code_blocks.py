"""Every block of the pages is run as it stands, in a checkout in small; one that is marked as not run is at least read.

The mark is an HTML comment before the block, which no reader sees: ``<!-- not run: needs RefCOCO -->``. ``<!-- file: NAME -->``
saves a block under the name that the text tells the reader to save it as.
"""
import ast
import json
import re
import shutil
from pathlib import Path

import pytest
from doc_pages import ROOT, Block, Page, all_pages
from warm_shell import NEVER_RUN, WarmShell
from workplace import INCOMPLETE, SMALLER, make_workplace

# Run by the tutorial's own test, which looks at what comes out.
ELSEWHERE = ('docs/tutorials/own_data.md', )
PAGES = [page for page in all_pages() if page.name not in ELSEWHERE and any(
    block.language in ('python', 'sh', 'json') for block in page.blocks)]


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A function that copies the checkout in small to a new folder, and goes there."""
    folder = tmp_path_factory.mktemp('docs') / 'template'
    folder.mkdir()
    shell = WarmShell(folder)
    make_workplace(folder, shell)

    def copy(name: str) -> WarmShell:
        shutil.copytree(folder, folder.parent / name, symlinks=True)
        shell.enter(folder.parent / name)
        return shell

    yield copy
    shell.close()


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_blocks_of(page: Page, checkout):
    shell = checkout(page.name.replace('/', '_'))
    for block in page.blocks:
        if block.mark == 'file':
            target = shell.folder / block.note
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.code)
        if block.language == 'python':
            python_block(block, shell)
        elif block.language == 'sh':
            for command in commands_of(block):
                sh_command(command, block, shell)
        elif block.language == 'json':
            for line in block.code.splitlines():
                json.loads(line)


def python_block(block: Block, shell: WarmShell) -> None:
    """Run it; a config is read by mmengine, and the parts that it names are looked up."""
    tree = ast.parse(block.code, filename=str(block))
    if any(isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '_base_' for node in tree.body):
        path = block.note if block.mark == 'file' else f'configs/line_{block.line}.py'
        (shell.folder / path).write_text(block.code)
        status, said = shell.run(['PYTHONPATH=.', 'python', 'tests/docs/config_parts.py', path])
    elif block.mark in ('file', 'not run'):
        return
    else:
        status, said = shell.python(block.code)
    assert status == 0, f'{block}\n{said}'


def commands_of(block: Block) -> list[str]:
    lines = block.code.replace('\\\n', ' ').splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith('#')]


def sh_command(command: str, block: Block, shell: WarmShell) -> None:
    where = f'{block}: {command}'
    words = shell.words(command)
    smaller = next((extra for name, extra in SMALLER.items() if any(word.endswith(name) for word in words)), [])
    if words[0] in NEVER_RUN or block.mark == 'not run':
        read_command(words, shell, where)
        return
    status, said = shell.run(words + smaller)
    script = Path(words[1]).name if len(words) > 1 else ''
    if script in INCOMPLETE:
        assert status == 1 and INCOMPLETE[script] in said, f'{where}\n{said}'
    elif block.mark == 'fails':
        assert status != 0, f'{where} ends well\n{said}'
    else:
        assert status == 0, f'{where}\n{said}'


def read_command(words: list[str], shell: WarmShell, where: str) -> None:
    """What can be said of a command without running it: a target of the Makefile, arguments that a tool takes."""
    if words[0] == 'make':
        makefile = (ROOT / 'Makefile').read_text()
        for word in words[1:]:
            name, is_variable, _ = word.partition('=')
            pattern = rf'^{name} \?=' if is_variable else rf'^{name}:'
            assert re.search(pattern, makefile, re.MULTILINE), f'{where}: the Makefile has no {name}'
        return
    if words[0] == 'torchrun':
        words = ['python', *words[next(i for i, word in enumerate(words) if word.endswith('.py')):]]
    if words[0] in ('python', 'mmuniqrnet'):
        status, said = shell.run(words, parse_only=True)
        assert status == 0, f'{where}\n{said}'
        for word in words[1:]:
            if word.startswith(('configs/', 'tools/')):
                assert (shell.folder / word).exists(), f'{where}: there is no {word}'


def test_most_blocks_are_run():
    """The marks stay few, and each says why."""
    marked = [block for page in all_pages() for block in page.blocks if block.mark in ('not run', 'fails')]
    run = [block for page in all_pages() for block in page.blocks if block.language in ('python', 'sh') and not block.mark]
    assert all(len(block.note) > 5 for block in marked)
    assert len(marked) < len(run) / 3, [str(block) for block in marked]
