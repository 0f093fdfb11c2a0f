import json

import pytest
from helpers.label_samples import content, write_samples

from mmuniqrnet.analysis.labelling.convert import FORMATS, PREDICTIONS
from mmuniqrnet.cli import main
from mmuniqrnet.commands import convert


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
    """The command repeats them, because the code takes a second to import."""
    assert (convert.FORMATS, convert.PREDICTIONS) == (FORMATS, PREDICTIONS)
