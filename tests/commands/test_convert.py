import json
import subprocess
import sys

import pytest
from helpers.label_samples import content, write_samples
from helpers.paths import ROOT

from mmuniqrnet.analysis import labelling
from mmuniqrnet.cli import main
from mmuniqrnet.commands import convert, score
from mmuniqrnet.utils.formats import FORMATS, LAYOUTS, PREDICTIONS, UNITS


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


def test_there_and_back(tmp_path, capsys):
    lines = write_samples(tmp_path)
    arguments = ('--to', 'label-studio', '--images', tmp_path, '--add-prefix', '/data/local-files/?d=')
    assert run('convert', lines, tmp_path / 'tasks.json', '--from', 'jsonl', *arguments) == 0
    told = capsys.readouterr().out
    assert '3 images, 5 objects (4 with a mask), 10 expressions, 3 of them without target.' in told
    assert json.loads((tmp_path / 'tasks.json').read_text())[0]['data']['image'] == '/data/local-files/?d=a/1.png'
    assert (
        run('convert', tmp_path / 'tasks.json', tmp_path / 'back.jsonl', '--from', 'label-studio', '--to', 'jsonl') == 0
    )
    assert content(tmp_path / 'back.jsonl') == content(lines, str(tmp_path))


def test_misuse_is_one_sentence(tmp_path):
    lines = write_samples(tmp_path)
    out = tmp_path / 'out'
    assert '--units is for predictions' in run(
        'convert', lines, out, '--from', 'coco', '--to', 'jsonl', '--units', 'pixels'
    )
    assert 'is not valid JSON' in run('convert', lines, out, '--from', 'coco', '--to', 'jsonl')
    assert 'does not exist' in run('convert', tmp_path / 'gone', out, '--from', 'fiftyone', '--to', 'jsonl')
    assert 'cannot be read (No such file' in run('convert', tmp_path / 'gone', out, '--from', 'cvat', '--to', 'jsonl')


def test_names_of_formats_are_those_of_the_code():
    """They have one owner, which is quick to import; the code takes a second."""
    assert convert.FORMATS is labelling.FORMATS is FORMATS and convert.PREDICTIONS is PREDICTIONS
    assert convert.LAYOUTS is score.LAYOUTS is LAYOUTS and convert.UNITS is score.UNITS is UNITS
    code = 'import mmuniqrnet.utils.formats, sys; print([name for name in ("torch", "numpy") if name in sys.modules])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == '[]\n'
