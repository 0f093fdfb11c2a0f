"""Files that cannot be read or written end every command with one sentence, and nothing of the user's is replaced."""

import json

import pytest
from helpers.corrected_samples import write_rows
from helpers.made_scenes import coco_of
from helpers.tools import end_of_tool

from mmuniqrnet.apis.shipped import shipped_weights
from mmuniqrnet.cli import main

LINE = dict(image='a.png', expressions=['left'], bbox=[1, 1, 5, 5], width=400, height=300)
FORMATS = ('jsonl', 'coco', 'label-studio', 'fiftyone', 'answers')
PEOPLE = [('person', (x, 100, x + 40, 200)) for x in (20, 330)]


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return str(end.value.code)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The working folder: ``coco.json``, ``lines.jsonl``, ``phrases.json``, and a folder named ``folder``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'coco.json').write_text(json.dumps(coco_of(PEOPLE)))
    (tmp_path / 'lines.jsonl').write_text(json.dumps(LINE) + '\n')
    (tmp_path / 'phrases.json').write_text('{"person": ["the player"]}')
    (tmp_path / 'folder').mkdir()
    return tmp_path


@pytest.mark.parametrize(
    'words',
    [
        ['describe', 'folder', 'out'],
        ['describe', 'coco.json', 'out', '--phrases', 'folder'],
        *(['convert', 'folder', 'out', '--from', name, '--to', 'jsonl'] for name in FORMATS),
        ['convert', 'folder', 'out', '--from', 'cvat', '--to', 'jsonl'],
    ],
)
def test_a_folder_is_no_file_to_read(files, words):
    assert run(*words) == 'error: folder cannot be read (Is a directory).' and not (files / 'out').exists()


@pytest.mark.parametrize(
    'words, read',
    [
        (['describe', 'coco.json', 'coco.json'], 'coco.json'),
        (['describe', 'coco.json', 'folder/../coco.json'], 'coco.json'),
        (['describe', 'coco.json', 'phrases.json', '--phrases', 'phrases.json', '--ambiguous'], 'phrases.json'),
        (['convert', 'lines.jsonl', 'lines.jsonl', '--from', 'jsonl', '--to', 'coco'], 'lines.jsonl'),
        (
            [
                'convert',
                'lines.jsonl',
                'coco.json',
                '--from',
                'predictions',
                '--to',
                'coco',
                '--questions',
                'coco.json',
            ],
            'coco.json',
        ),
    ],
)
def test_what_is_read_is_never_replaced(files, words, read):
    before = (files / read).read_text()
    assert 'is also read, and would be lost' in run(*words, '--overwrite')
    assert (files / read).read_text() == before


@pytest.mark.parametrize('out, reason', [('folder', 'is a folder'), ('/dev/null', 'is a device'), ('', 'is no name')])
def test_only_a_file_is_replaced(files, out, reason):
    for words in (['describe', 'coco.json', out], ['convert', 'lines.jsonl', out, '--from', 'jsonl', '--to', 'coco']):
        assert reason in run(*words, '--overwrite')


def test_what_has_no_effect_on_plurals_is_said(files):
    for option in (['--several'], ['--no-target', 0.5]):
        said = run('describe', 'coco.json', 'out', '--kinds', 'plural', *option)
        assert f'{option[0]} has no effect on plural expressions' in said
    assert run('describe', 'coco.json', 'out', '--kinds', 'plural', 'place', '--several') == '0'


@pytest.mark.parametrize('name', ['refcoco', 'refcoco-m', 'ref-l4'])
def test_get_copies_nothing_of_files_that_it_cannot_read(files, name):
    pytest.importorskip('pyarrow')
    (files / 'folder' / 'ref-l4-val.parquet').write_bytes(b'')
    assert 'is not a readable parquet file' in run('get', name, '--from', 'folder', '--out', 'data')
    assert not [path for path in (files / 'data').rglob('*') if path.is_file()]
    assert run('get', name, '--from', '') == 'error: --from is empty: name a parquet file or a folder.'


def test_get_places_nothing_of_another_set(files):
    pytest.importorskip('pyarrow')
    write_rows(files / 'folder' / 'a.parquet', [dict(image_id=1)])
    assert 'lacks the column(s) file_name, samples' in run('get', 'refcoco-m', '--from', 'folder', '--out', 'data')
    assert not (files / 'data').exists()


def test_published_weights_do_not_replace_what_they_are_made_of(files):
    (files / 'w.safetensors').write_bytes(b'x')
    said = end_of_tool('publish', 'w.safetensors', 'w.safetensors', '--half', '--overwrite')
    assert 'is also read' in said and (files / 'w.safetensors').read_bytes() == b'x'
    said = end_of_tool('publish', shipped_weights('shapes'), 'o.safetensors', '--results', 'folder')
    assert 'folder cannot be read (Is a directory)' in said and not (files / 'o.safetensors').exists()
