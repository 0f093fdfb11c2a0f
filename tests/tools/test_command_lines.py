"""What all tools have in common: their shape, shared arguments, and errors of one sentence."""

import argparse
import importlib.util
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.needs import needs_torch
from helpers.paths import NANO_CONFIG
from helpers.tools import end_of_tool

from mmuniqrnet.config import add_cfg_options, positive_int
from mmuniqrnet.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
TOOLS = {
    str(path.relative_to(ROOT / 'tools')): path for path in (ROOT / 'tools').rglob('*.py') if path.name != 'make_env.py'
}


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f'command_line_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, *arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, str(TOOLS[name]), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **options)


@pytest.mark.parametrize('name', sorted(TOOLS))
def test_every_tool_parses_given_arguments_and_explains_its_options(name, capsys):
    module = load(TOOLS[name])
    assert callable(module.main)
    with pytest.raises(SystemExit) as stopped:
        module.parse_args(['--help'])
    assert stopped.value.code == 0
    said = ' '.join(capsys.readouterr().out.split())
    assert TOOLS[name].read_text().endswith("if __name__ == '__main__':\n    run_tool(main)\n")
    if '--cfg-options' in said:
        assert 'custom_hooks.0.strategy=dwa' in said and 'key="[(1,2),(3,4)]"' in said


@pytest.mark.parametrize(
    'name, arguments, sentence',
    [
        ('model_converters/qrnet_to_mmuniqrnet.py', ['gone.pth', '{}/x.pth'], 'there is no checkpoint gone.pth'),
        ('model_converters/mmuniqrnet_to_qrnet.py', ['gone.pth', '{}/x.pth'], 'there is no checkpoint gone.pth'),
        ('model_converters/swin_to_mmuniqrnet.py', ['gone.pth', '{}/there.pth'], 'there.pth exists already'),
        ('dataset_tools/validate.py', ['gone.jsonl'], 'gone.jsonl'),
        ('dataset_tools/make_refshapes.py', ['{}', '--val', '1'], 'is no part of RefShapes'),
        ('dataset_tools/verify.py', ['{}'], 'has the annotation files of none of'),
        ('analysis_tools/worst_cases.py', ['gone.jsonl', '--out', '{}/x'], 'results file gone.jsonl not found'),
    ],
)
def test_bad_input_is_one_sentence(name, arguments, sentence, tmp_path):
    torch.save({}, tmp_path / 'there.pth')
    said = end_of_tool(name.removesuffix('.py'), *(argument.format(tmp_path) for argument in arguments))
    assert isinstance(said, str), 'it ended well'
    assert said.startswith('error: ') and sentence in said and '\n' not in said
    assert not (tmp_path / 'x').exists()


def test_a_tool_started_by_itself_ends_with_status_1_and_no_trace():
    done = run('dataset_tools/validate.py', 'gone.jsonl')
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith('error: ')
    assert 'gone.jsonl' in done.stderr and 'Traceback' not in done.stderr


@needs_torch('2.13', 'torch 2.8 writes a file of its own when it is imported')
def test_a_disk_that_is_full_is_said_in_one_sentence(tmp_path):
    """A limit on the size of files stands for it: writing beyond it fails in the same way."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    # Two processes, so that the error comes from one of them.
    arguments = [tmp_path / 'data', '--train', 4, '--val', 0, '--testA', 0, '--testB', 0, '--workers', 2]
    done = run('dataset_tools/make_refshapes.py', *arguments, preexec_fn=limit)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert f'{tmp_path / "data"} can not be written (File too large)' in done.stderr.strip().splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('text', ['0', '-3', '1.5', 'many'])
def test_positive_integers(text):
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument('--number', type=positive_int)
    assert parser.parse_args(['--number', '12']).number == 12
    with pytest.raises(argparse.ArgumentError, match=f"'{text}' is not an integer of at least 1"):
        parser.parse_args(['--number', text])


@pytest.mark.parametrize(
    'option, said',
    [
        ('train_cfg.max_epochs', "'train_cfg.max_epochs' is not KEY=VALUE"),
        ('=3', "'=3' is not KEY=VALUE"),
        ('a..b=3', "'a..b=3' is not KEY=VALUE"),
        ('a=[1,2', r"the value of 'a=\[1,2' cannot be read"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(option, said):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_cfg_options(parser)
    assert parser.parse_args(['--cfg-options', 'a.b=3', 'c=x=y', 'd=1,2']).cfg_options == {
        'a.b': 3,
        'c': 'x=y',
        'd': [1, 2],
    }
    with pytest.raises(argparse.ArgumentError, match=said):
        parser.parse_args(['--cfg-options', option])


@pytest.mark.parametrize(
    'name, arguments, sentence',
    [
        ('test.py', [NANO_CONFIG, '{}/there.pth', '--wait-time', 1], '--wait-time is for the window of --show'),
        ('test.py', [NANO_CONFIG, '{}/there.pth', '--cfg-options', 'load_from=a.pth'], 'leave load_from out'),
        ('dataset_tools/leakage.py', ['--out', '{}/a.json', '--split', 'val'], 'is the split of --train FILE'),
        ('dataset_tools/leakage.py', ['--train', 'a.json', '--overwrite'], '--overwrite is for --out'),
        ('analysis_tools/feature_localization.py', [NANO_CONFIG, '{}/there.pth', '--images', 2], '--pictures FOLDER'),
    ],
)
def test_an_option_without_effect_is_refused(name, arguments, sentence, tmp_path):
    torch.save({}, tmp_path / 'there.pth')
    with pytest.raises(UserError, match=sentence):
        load(TOOLS[name]).main([str(argument).format(tmp_path) for argument in arguments])
