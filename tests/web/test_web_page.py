"""The page's handlers as Gradio calls them, and the command that serves them."""

import os
import socket
import threading
from importlib import metadata

import pytest

from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.web import command, main

needs_gradio = pytest.mark.skipif(
    not any(found.name == 'gradio' for found in metadata.distributions()), reason='needs gradio'
)


@pytest.fixture
def page(inferencer, tmp_path):
    from mmuniqrnet.web.page import Page

    return Page(inferencer, tmp_path, 'a model')


@needs_gradio
def test_another_threshold_shows_the_same_answers(page, scene):
    *_, answers = page.find((str(scene.path), 'C:/me/mine.png'), '\n'.join(scene.phrases), 0.0)
    drawn, table, everything, files = page.show(answers, 0.0)
    assert len(drawn['value'][1]) == len(table) == len(scene.phrases)
    assert everything.endswith('/mine_answers.zip') and len(files) == len(scene.phrases) + 2
    drawn, table, everything, files = page.show(answers, 1.0)
    assert not drawn['value'][1] and {row[2] for row in table} == {'refused, below 1.00'} and len(files) == 2
    assert all(answer['mask'] for answer in answers.predictions)


@needs_gradio
@pytest.mark.parametrize(
    'what, sentence',
    [
        ('picture', 'There is no picture yet'),
        ('phrase', 'There is no phrase yet'),
        ('file', '&lt;b&gt;.png can not be read'),
        ('model', 'Internal error (RuntimeError); the terminal'),
    ],
)
def test_what_is_wrong_is_one_sentence(page, scene, tmp_path, monkeypatch, capsys, what, sentence):
    import gradio as gr

    picture, text = (str(scene.path), None), 'the circle'
    if what == 'picture':
        picture = None
    elif what == 'phrase':
        text = '\n \n'
    elif what == 'file':
        (tmp_path / 'upload').write_text('no picture')
        picture = (str(tmp_path / 'upload'), '<b>.png')
    else:

        def broken(*_, **__):
            raise RuntimeError('a trace <of> many lines')

        monkeypatch.setattr(page, 'inferencer', broken)
    with pytest.raises(gr.Error) as raised:
        page.find(picture, text, 0.0)
    assert raised.value.message.startswith(sentence)
    assert 'trace' not in raised.value.message
    assert ('many lines' in capsys.readouterr().err) == (what == 'model')


@needs_gradio
def test_gates_only_where_there_are_answers(page, scene):
    assert page.show_gates(None, 0)['value'] is None
    *_, answers = page.find((str(scene.path), None), '\n'.join(scene.phrases), 0.0)
    assert page.show_gates(answers, -1)['value'] is None
    first, second = (page.show_gates(answers, index)['value'] for index in (0, 1))
    assert len(first) == len(second) == 5 and [caption for _, caption in first] != [caption for _, caption in second]


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
    with pytest.raises(UserError, match=r'nowhere\.safetensors'):
        main(['--weights', 'nowhere.safetensors'])


def test_the_model_is_named():
    assert command.about_model(None, 'shapes') == 'the shipped model “shapes”'
    assert command.about_model('configs/a.py', 'work_dirs/b.pth') == 'a.py with b.pth'
