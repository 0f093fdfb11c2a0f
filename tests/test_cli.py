"""The command, in this process; what must hold of a fresh one is tested in a subprocess."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmuniqrnet.checkpoints.carried_config import inference_config
from mmuniqrnet.checkpoints.file_io import write_checkpoint
from mmuniqrnet.cli import main, table
from mmuniqrnet.config import load_config
from mmuniqrnet.registry import MODELS
from mmuniqrnet.structures.masks import encode_mask

ROOT = Path(__file__).resolve().parent.parent
WORDS = ['red heart', 'the blue ring']


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp('cli') / 'nano.safetensors'
    cfg = load_config(str(ROOT / 'configs' / 'uniqrnet_swin-nano_refshapes.py'))
    torch.manual_seed(0)
    state = MODELS.build(cfg.model).state_dict()
    write_checkpoint(dict(meta=dict(config=inference_config(cfg).pretty_text), state_dict=state), path)
    return str(path)


@pytest.fixture(scope='module')
def image(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp('image') / 'scene.png'
    run('scene', str(path))
    return str(path)


def run(*arguments: str) -> int | str | None:
    """The exit status."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return stopped.value.code


def test_a_scene_is_drawn_once_with_expressions_and_a_command(tmp_path, capsys):
    path = tmp_path / 'my scene.png'
    assert run('scene', str(path)) == 0
    said = capsys.readouterr().out.splitlines()
    picture = np.asarray(Image.open(path))
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.std() > 10
    texts = [line.strip() for line in said[1:-1]]
    assert len(texts) == int(said[0].split(' a scene with ')[1].split()[0]) >= 3
    assert said[-1] == f"try: mmuniqrnet ground '{path}' '{texts[0]}' '{texts[1]}'"
    assert run('scene', str(path)) == f'error: {path} exists already: give another name.'
    assert run('scene', str(tmp_path / 'b.png'), '--seed', '2') == 0
    assert not np.array_equal(np.asarray(Image.open(tmp_path / 'b.png')), picture)
    assert 'must end in .png' in run('scene', str(tmp_path / 'b.jpg'))
    assert 'no folder' in run('scene', str(tmp_path / 'none' / 'b.png'))
    assert 'a seed is 0 or more' in run('scene', str(tmp_path / 'c.png'), '--seed', '-1')


def test_ground_prints_a_table_and_says_where_files_went(image, weights, tmp_path, capsys):
    assert run('ground', image, *WORDS, '--weights', weights, '--out', str(tmp_path / 'out'), '--draw') == 0
    head, first, second, where = capsys.readouterr().out.splitlines()
    assert head.split() == ['expression', 'score', 'x1', 'y1', 'x2', 'y2', 'mask,', '%']
    answers = json.loads((tmp_path / 'out' / 'predictions.json').read_text())['predictions']
    for line, answer in zip((first, second), answers, strict=True):
        assert line.startswith(answer['expression'])
        score, *box = line.removeprefix(answer['expression']).split()[:5]
        assert float(score) == pytest.approx(answer['score'], abs=0.006)
        assert [float(edge) for edge in box] == pytest.approx(answer['box'], abs=0.06)
    assert where == f'written to {tmp_path / "out"}: predictions.json, 2 in masks/, 2 in pictures/'
    again = run('ground', image, *WORDS, '--weights', weights, '--out', str(tmp_path / 'out'))
    assert again.startswith('error: ') and 'nothing is overwritten' in again


def test_json_is_all_that_goes_to_stdout(image, weights):
    """In a process of its own: importing mmdet prints."""
    done = subprocess.run(
        [sys.executable, '-m', 'mmuniqrnet.cli', 'ground', image, *WORDS, 'gone', '--weights', weights, '--json'],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    answers = json.loads(done.stdout)['predictions']
    assert [answer['expression'] for answer in answers] == [*WORDS, 'gone'] and done.returncode == 0
    assert isinstance(answers[0]['mask']['counts'], str) and 'Traceback' not in done.stderr


def test_a_folder_is_asked_all_and_failures_show_in_the_exit_status(image, weights, tmp_path, capsys):
    (tmp_path / 'a.png').write_bytes(Path(image).read_bytes())
    (tmp_path / 'b.txt').write_text('no image')
    assert run('ground', str(tmp_path), *WORDS, '--weights', weights) == 1
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split(':')[0] for line in lines] == ['a.png', 'a.png', 'b.txt', 'b.txt']
    assert all('is not an image that can be read' in line for line in lines[2:])


def test_bad_arguments_end_in_one_sentence(image, weights, tmp_path, capsys):
    assert 'there is no checkpoint gone.pth' in run('ground', image, 'x', '--weights', 'gone.pth')
    assert 'no shipped weights of this name: those are photos, shapes' in run(
        'ground', image, 'x', '--weights', 'photo'
    )
    assert 'there is no config gone.py' in run('ground', image, 'x', '--weights', weights, '--config', 'gone.py')
    assert "there is no device 'gpu'" in run('ground', image, 'x', '--weights', weights, '--device', 'gpu')
    assert 'has no file in it' in run('ground', str(tmp_path), 'x', '--weights', weights)
    for score in ('50', 'nan', '-0.1'):
        assert f'--refuse-below {float(score)}: a threshold of scores is a number from 0 to 1' in run(
            'ground', image, 'x', '--weights', weights, '--refuse-below', score
        )
    assert run('ground', image, 'x', '--draw') == 2
    assert '--draw needs --out' in capsys.readouterr().err
    assert run('grond', image) == 2


def test_a_cut_expression_is_noted_in_one_line(image, weights, capsys):
    run('ground', image, 'the red heart ' * 8, '--weights', weights)
    (note,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('note: ')]
    assert 'has 26 tokens, and the network reads 16' in note


def test_a_turned_photograph_is_asked_upright_or_as_it_is_stored(image, weights, tmp_path, capsys):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(image) as upright:
        width, height = upright.size
        upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / 'a.png', exif=exif)
    capsys.readouterr()
    answers = []
    for path, *more in [(image,), (tmp_path / 'a.png',), (tmp_path / 'a.png', '--orientation', 'stored')]:
        assert run('ground', str(path), WORDS[0], '--weights', weights, '--json', *more) == 0
        answers += json.loads(capsys.readouterr().out)['predictions']
    assert answers[1] == answers[0] | dict(image=str(tmp_path / 'a.png'))
    assert [(a['size'], a['frame']) for a in answers[1:]] == [
        ([height, width], 'upright'),
        ([width, height], 'stored'),
    ]
    assert run('ground', image, WORDS[0], '--orientation', 'left') == 2


def test_the_shipped_model_says_what_it_was_made_for_and_which_words_it_does_not_know(image, capsys):
    assert run('ground', image, 'the Woman', 'red heart', '--device', 'cpu') == 0
    table, notes = capsys.readouterr()
    first, second = table.splitlines()[1:]
    assert first.endswith('the model does not know “Woman”') and 'not know' not in second
    made_for, unknown = [line for line in notes.splitlines() if line.startswith('note: ')]
    assert made_for == (
        'note: the model shapes was made for RefShapes: synthetic scenes of coloured shapes; its answers about other '
        'pictures are guesses.'
    )
    assert '“Woman” (not in its training text)' in unknown
    assert run('ground', image, 'red heart', '--device', 'cpu', '--json') == 0
    out, notes = capsys.readouterr()
    assert (
        json.loads(out)['made_for'].startswith('RefShapes') and json.loads(out)['predictions'][0]['unknown_words'] == []
    )
    assert len([line for line in notes.splitlines() if line.startswith('note: ')]) == 1


def test_what_is_missing_or_refused_shows_in_the_table():
    answer = dict(image='a/b.png', expression='x', score=0.5, refused=False, box=[1.0, 2.0, 3.0, 4.0], mask=None)
    mask = encode_mask(np.eye(2, dtype=bool))
    head, *lines = table(
        [
            answer,
            dict(answer, box=None, mask=mask),
            dict(answer, refused=True, box=None),
            dict(image='c.png', expression=' ', error='the expression is empty.'),
        ],
        with_image=True,
    ).splitlines()
    assert head.split() == ['expression', 'score', 'x1', 'y1', 'x2', 'y2', 'mask,', '%', 'note']
    assert [line.split() for line in lines] == [
        ['b.png:', 'x', '0.50', '1.0', '2.0', '3.0', '4.0', '-'],
        ['b.png:', 'x', '0.50', '-', '-', '-', '-', '50.0'],
        ['b.png:', 'x', '0.50', *'-----', 'refused'],
        ['c.png:', '""', *'------', 'the', 'expression', 'is', 'empty.'],
    ]


def test_help_is_quick_and_needs_no_torch():
    code = (
        'import sys; from mmuniqrnet.cli import main; main([]); '
        'print("heavy:", [name for name in ("torch", "mmengine", "mmdet", "cv2") if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith('usage: mmuniqrnet') and done.stdout.endswith('heavy: []\n')
    assert all(name in done.stdout for name in ('ground', 'scene', 'web', 'env'))


def test_env_says_versions(capsys):
    assert run('env') == 0
    assert f'python {sys.version_info.major}.{sys.version_info.minor}' in capsys.readouterr().out


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['x', '--workers', '2'], '--workers needs --ray'),
        (['x', '--cpus-per-worker', '2'], '--cpus-per-worker needs --ray'),
        (['x', '--images', 'a'], '--images needs --ray'),
        ([], 'arguments are required: EXPRESSION'),
        (['x', '--ray'], '--ray needs --out DIR'),
        (['x', '--ray', '--out', 'a', '--json'], '--json has no effect with --ray'),
        (['x', '--ray', '--out', 'a', '--device', 'cpu'], '--device has no effect with --ray; --gpus-per-worker'),
    ],
)
def test_options_of_ray_that_would_have_no_effect_are_refused(image, arguments, message, capsys):
    assert run('ground', image, *arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(find_spec('ray') is not None, reason='Ray is installed')
def test_without_ray_the_command_that_installs_it_is_named(image, tmp_path):
    said = run('ground', image, 'x', '--ray', '--out', str(tmp_path / 'out'))
    assert 'ray' in said and "pip install 'mmuniqrnet[ray]'" in said and not (tmp_path / 'out').exists()
