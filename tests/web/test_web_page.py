"""The page's handlers as Gradio calls them, and the command that serves them."""

import os
import socket
import threading
from importlib import metadata

import pytest

from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.web import command, main
from mmuniqrnet.web.text import error_line

needs_gradio = pytest.mark.skipif(
    not any(found.name == 'gradio' for found in metadata.distributions()), reason='needs gradio'
)


@pytest.fixture
def page(inferencer, tmp_path):
    from mmuniqrnet.web.page import Page

    return Page(inferencer, tmp_path, 'a model')


@needs_gradio
def test_only_the_last_answers_are_kept(page, scene):
    picture, text = (str(scene.path), 'C:/me/mine.png'), '\n'.join(scene.phrases)
    *_, shown, _ = page.find(picture, text, 0.0, None)
    *_, shown, choices = page.find(picture, text, 0.0, shown)
    assert list(page.answers_folder.iterdir()) == [shown.folder]
    assert [p.name for p in shown.folder.iterdir() if p.suffix] == ['mine_answers.zip']
    assert len(choices['choices']) == len(scene.phrases)

    *_, refused = page.refuse(shown, 1.0)
    assert list(page.answers_folder.iterdir()) == [refused.folder]
    assert refused.answers is shown.answers

    line, *_, nothing, _ = page.find(picture, ' ', 0.0, refused)
    assert 'There is no phrase yet' in line and nothing is None
    assert not list(page.answers_folder.iterdir())


@needs_gradio
@pytest.mark.parametrize(
    'what, sentence',
    [
        ('picture', 'There is no picture yet'),
        ('phrase', 'There is no phrase yet'),
        ('file', 'notes.png can not be read'),
        ('model', 'That went wrong inside (RuntimeError); the terminal'),
    ],
)
def test_what_is_wrong_is_one_sentence(page, scene, tmp_path, monkeypatch, capsys, what, sentence):
    picture, text = (str(scene.path), None), 'the circle'
    if what == 'picture':
        picture = None
    elif what == 'phrase':
        text = '\n \n'
    elif what == 'file':
        (tmp_path / 'upload').write_text('no picture')
        picture = (str(tmp_path / 'upload'), 'notes.png')
    else:

        def broken(*_, **__):
            raise RuntimeError('a trace <of> many lines')

        monkeypatch.setattr(page, 'inferencer', broken)
    line, *rest = page.find(picture, text, 0.0, None)
    assert line.startswith(error_line(sentence).removesuffix('</p>'))
    assert 'trace' not in line and ('many lines' in capsys.readouterr().err) == (what == 'model')
    assert rest[-2] is None


@needs_gradio
def test_gates_only_where_there_are_answers(page, scene):
    assert page.gates(None, True, 0)[1] == ''
    *_, shown, _ = page.find((str(scene.path), None), '\n'.join(scene.phrases), 0.0, None)
    assert page.gates(shown, False, 0)[1] == ''
    first, second = (page.gates(shown, True, number)[1] for number in (0, 1))
    assert first.count('<img') == second.count('<img') == 5 and first != second


@needs_gradio
def test_a_port_that_is_taken_is_told_and_nothing_stays(inferencer, tmp_path, monkeypatch):
    for name in ('GRADIO_TEMP_DIR', 'GRADIO_ANALYTICS_ENABLED'):
        monkeypatch.setenv(name, os.environ.get(name, ''))
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f'can not be served at 127.0.0.1:{port} .*--port {port + 1}'):
            command.serve(inferencer, tmp_path, '127.0.0.1', port, 'a model', threading.Event())


def test_without_gradio_or_with_another_the_fix_is_told(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    wrong = 'needs gradio >=6.31,<7, and {} is installed'
    cases = [(absent, 'needs gradio, which is not installed')]
    cases += [(lambda _, v=v: v, wrong.format(v)) for v in ('5.49.1', '6.4.0', '7.0.0')]
    for version, sentence in cases:
        monkeypatch.setattr(command.metadata, 'version', version)
        with pytest.raises(UserError, match=rf"{sentence}: `pip install 'mmuniqrnet\[web\]'`"):
            main([])


@needs_gradio
def test_weights_that_are_not_there_are_told():
    with pytest.raises(UserError, match='nowhere.safetensors'):
        main(['--weights', 'nowhere.safetensors'])


def test_the_model_is_named():
    assert command.about_model(None, None).startswith('the shipped nano model')
    assert command.about_model('configs/a.py', 'work_dirs/b.pth') == 'a.py with b.pth'
