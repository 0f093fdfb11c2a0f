"""Runs the blocks of a page as they are written, in order, in one folder; what is marked as not run is read."""

import ast
import json
import re
import subprocess
from itertools import dropwhile
from pathlib import Path

import pytest
import warm
from config_parts import check_config, check_parts
from pages import Block, Page
from torch.distributed.run import parse_args as parse_torchrun

# Programs that set up a machine, or need a daemon or several GPUs: read, never run.
NEVER_RUN = ('docker', 'make', 'pip', 'torchrun', 'tools/dist_train.sh', 'tools/dist_test.sh', 'source')
# What these scripts run, and the place of the number of GPUs among their words.
DIST_SCRIPTS = {'tools/dist_train.sh': ('tools/train.py', 2), 'tools/dist_test.sh': ('tools/test.py', 3)}
# What has to end with 1, since the tests' data is not complete, and what it has to say then.
INCOMPLETE = {
    'tools/dataset_tools/prepare.py': (1, 'of 82,783 images'),
    'tools/dataset_tools/verify.py': (1, 'officially'),
}


def run_page(page: Page, folder: Path, smaller: dict[str, list[str]] | None = None, read_only: bool = False) -> None:
    """Run all blocks, and raise if one of them does not end well.

    Args:
        page: Which.
        folder: What a reader would be in: a checkout.
        smaller: By the end of a tool's name, arguments that make it take less time.
        read_only: Take every block for one that is marked as not run.
    """
    names = {'__name__': '__main__'}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        for block in page.blocks:
            read = read_only or block.mark == 'not run'
            if block.mark == 'file':
                Path(block.note).parent.mkdir(exist_ok=True)
                Path(block.note).write_text(block.code)
            if block.language == 'python':
                run_python(block, folder, names, read)
            elif block.language == 'sh':
                for line in block.code.replace('\\\n', ' ').splitlines():
                    if line.strip() and not line.startswith('#'):
                        run_command(words_of(line, folder), block, folder, smaller or {}, read)
            elif block.language == 'json':
                for line in block.code.splitlines():
                    json.loads(line)


def run_python(block: Block, folder: Path, names: dict, read: bool) -> None:
    """Run it after the page's Python before it, and look up the parts of configs in the values that it makes."""
    tree = ast.increment_lineno(ast.parse(block.code, str(block.page)), block.line - 1)
    if re.search('^_base_ = ', block.code, re.MULTILINE):
        path = block.note if block.mark == 'file' else f'configs/line_{block.line}.py'
        (folder / path).write_text(block.code)
        status, said = warm.run(folder, check_config, path)
        assert status == 0, f'{block}\n{said}'
    elif block.mark != 'file' and not read:
        before, values = dict(names), []
        for node in tree.body:
            if isinstance(node, ast.Expr):
                values.append(eval(compile(ast.Expression(node.value), block.page, 'eval'), names))
            else:
                exec(compile(ast.Module([node], []), block.page, 'exec'), names)
        check_parts(values + [value for name, value in names.items() if before.get(name) is not value])


def words_of(text: str, folder: Path) -> list[str]:
    """The words that bash makes of a line: quotes, wildcards, braces, comments."""
    script = f'words=({text}\n); printf "%s\\0" "${{words[@]}}"'
    done = subprocess.run(['bash', '-c', script], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.split('\0')[:-1]


def run_command(words: list[str], block: Block, folder: Path, smaller: dict[str, list[str]], read: bool) -> None:
    where = f'{block}: {" ".join(words)}'
    program, *arguments = [word for word in words if not re.match(r'\w+=', word)]
    if read or program in NEVER_RUN:
        read_command(words, folder, where)
        return
    if program in ('python', 'mmuniqrnet'):
        extra = next((extra for end, extra in smaller.items() if arguments[0].endswith(end)), [])
        status, said = warm.run(folder, warm.command, words + extra)
    else:
        done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        status, said = done.returncode, done.stdout
    expected, message = INCOMPLETE.get(arguments[0], (0, ''))
    assert status == expected and message in said, f'{where}\nended with {status}\n{said}'


def read_command(words: list[str], folder: Path, where: str) -> None:
    """Assert what can be known without running it: a target of the Makefile, a tool's arguments, files of ours."""
    words = list(dropwhile(re.compile(r'\w+=').match, words))  # variables of the environment
    if words[0] == 'make':
        done = subprocess.run([*words, '--dry-run'], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f'{where}\n{done.stderr}'
        variables = [word.partition('=')[0] for word in words if '=' in word]
        makefile = (folder / 'Makefile').read_text()
        assert all(f'\n{name} ?=' in makefile for name in variables), f'{where}: not all of {variables} are in use'
    if words[0] == 'torchrun':
        launch = parse_torchrun(words[1:])
        words = ['python', launch.training_script, *launch.training_script_args]
    if words[0] in DIST_SCRIPTS:
        tool, place = DIST_SCRIPTS[words[0]]
        assert words[place].isdigit(), f'{where}: {words[place]} is no number of GPUs'
        words = ['python', tool, *words[1:place], *words[place + 1 :]]
    if re.match(r'mmuniqrnet |python (-m mmuniqrnet|benchmarks/|tools/)', ' '.join(words)):
        status, said = warm.run(folder, warm.command, words, True)
        assert status == 0, f'{where}\n{said}'
        for word in words[1:]:
            assert not word.startswith(('configs/', 'tools/')) or (folder / word).exists(), f'{where}: no {word}'
