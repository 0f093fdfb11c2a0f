"""Runs a block of a page as it stands; one that is marked as not run is read."""

import ast
import json
import re
from pathlib import Path

from doc_pages import ROOT, Block
from warm_shell import NEVER_RUN, WarmShell

# What ends with 1 where the data is not whole, as in the tests, and what it must say then.
INCOMPLETE = {'prepare.py': 'of 82,783 images', 'verify.py': 'officially'}


def run_block(block: Block, shell: WarmShell, smaller: dict[str, list[str]] | None = None) -> None:
    """Run it in the shell's folder, and assert that it ends well.

    Args:
        block: Of Python, shell commands, or lines of JSON; of other languages, only a ``file`` mark is obeyed.
        shell: Where.
        smaller: By the end of a tool's name, arguments that make it take less time.
    """
    if block.mark == 'file':
        target = shell.folder / block.note
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.code)
    if block.language == 'python':
        python_block(block, shell)
    elif block.language == 'sh':
        for command in commands_of(block):
            sh_command(command, block, shell, smaller or {})
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


def sh_command(command: str, block: Block, shell: WarmShell, smaller: dict[str, list[str]]) -> None:
    where = f'{block}: {command}'
    words = shell.words(command)
    if words[0] in NEVER_RUN or block.mark == 'not run':
        read_command(words, shell, where)
        return
    extra = next((extra for name, extra in smaller.items() if any(word.endswith(name) for word in words)), [])
    status, said = shell.run(words + extra)
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
        words = ['python', *words[next(i for i, word in enumerate(words) if word.endswith('.py')) :]]
    made_later = words[0] == 'python' and not words[1].startswith(('-', 'benchmarks/', 'tools/'))
    if words[0] in ('python', 'mmuniqrnet') and not made_later:
        status, said = shell.run(words, parse_only=True)
        assert status == 0, f'{where}\n{said}'
        for word in words[1:]:
            if word.startswith(('configs/', 'tools/')):
                assert (shell.folder / word).exists(), f'{where}: there is no {word}'
