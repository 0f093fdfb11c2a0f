import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.nano_model import nano_checkpoint, scene
from PIL import Image
from pycocotools import mask as coco_mask

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.apis.outputs import AnswerFolder, Question
from mmuniqrnet.utils.errors import UserError


@pytest.fixture(scope='module')
def ask(tmp_path_factory) -> UniQRNetInferencer:
    weights = nano_checkpoint(tmp_path_factory.mktemp('weights') / 'nano.safetensors')
    return UniQRNetInferencer(weights=weights, device='cpu', show_progress=False)


def test_files_hold_the_answers(ask, tmp_path):
    picture, texts = scene(0)
    (tmp_path / 'notes.txt').write_text('mine')
    inputs, asked = [picture, 'gone.png', picture], [texts, 'heart', [texts[0].upper(), texts[0], texts[0]]]
    result = ask(inputs, asked, out_dir=tmp_path, draw=True, return_gates=True)
    written = json.loads((tmp_path / 'predictions.json').read_text())['predictions']
    found = [{key: value for key, value in answer.items() if key != 'gates'} for answer in result['predictions']]
    assert written == found
    for answer, drawn in zip(written, result['visualization'], strict=True):
        assert ('error' in answer) == (drawn is None) == ('mask_file' not in answer)
        if drawn is not None:
            mask = np.asarray(Image.open(tmp_path / answer['mask_file']))
            assert mask.dtype == np.uint8 and np.array_equal(mask, coco_mask.decode(answer['mask']) * 255)
            assert np.array_equal(np.asarray(Image.open(tmp_path / answer['picture_file'])), drawn)
    names = [answer['mask_file'].lower() for answer in written if 'mask_file' in answer]
    assert len(set(names)) == len(names) == len(list((tmp_path / 'masks').iterdir()))
    assert f'masks/image0_{texts[0].replace(" ", "_")}.png'.lower() in names
    assert (tmp_path / 'notes.txt').read_text() == 'mine'


class StoppedHere(Image.Image):
    """A picture at which the user presses Ctrl+C."""

    def convert(self, *args, **kwargs):
        raise KeyboardInterrupt


def test_ctrl_c_keeps_what_was_answered_before(ask, tmp_path):
    picture, texts = scene(0)
    with pytest.raises(KeyboardInterrupt):
        ask([picture, StoppedHere()], [texts, 'heart'], batch_size=1, out_dir=tmp_path)
    written = json.loads((tmp_path / 'predictions.json').read_text())['predictions']
    assert [answer['expression'] for answer in written] == texts
    assert sorted(answer['mask_file'] for answer in written) == sorted(
        str(path.relative_to(tmp_path)) for path in (tmp_path / 'masks').iterdir()
    )


def test_a_folder_that_got_no_answer_can_be_named_again(ask, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        ask(StoppedHere(), 'heart', out_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    ask(scene(0)[0], 'heart', out_dir=tmp_path)
    assert (tmp_path / 'predictions.json').is_file()


def test_an_answer_that_could_not_be_written_leaves_no_file(tmp_path):
    rle = coco_mask.encode(np.asfortranarray(np.ones((4, 5), np.uint8)))
    answer = dict(mask=dict(rle, counts=rle['counts'].decode()))
    folder, questions = AnswerFolder(tmp_path), [Question(0, 0, text) for text in ('a', 'b')]
    with pytest.raises(TypeError):
        folder.add(questions[0], answer, picture=np.zeros((4, 5, 7)))  # no picture
    assert list(tmp_path.iterdir()) == [] and folder.answers == []
    folder.add(questions[0], answer)
    with pytest.raises(TypeError):
        folder.add(questions[1], answer, picture=np.zeros((4, 5, 7)))
    assert [path.name for path in tmp_path.iterdir()] == ['masks'] and len(list((tmp_path / 'masks').iterdir())) == 1


@pytest.mark.parametrize('as_folder', [True, False])
def test_a_name_that_no_answer_can_hold_is_refused_before_the_first_answer(ask, as_folder, tmp_path):
    images = tmp_path / 'images'
    images.mkdir()
    latin = os.fsencode(images) + b'/ros\xe9.png'
    Image.fromarray(scene(0)[0]).save(images / 'a.png')
    Path(os.fsdecode(latin)).write_bytes((images / 'a.png').read_bytes())
    with pytest.raises(UserError, match=r"the path '.*ros\\udce9.png' is not valid UTF-8.*rename it"):
        ask(images if as_folder else os.fsdecode(latin), 'heart', out_dir=tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_the_index_is_written_whole_or_not_at_all(tmp_path):
    folder = AnswerFolder(tmp_path)
    folder.add(Question('a.png', 0, 'a'), dict(expression='\udce9'))
    with pytest.raises(UnicodeEncodeError):
        folder.finish()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', ['predictions.json', 'masks', 'pictures'])
def test_answers_that_are_there_are_not_overwritten(ask, name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(FileExistsError, match=f'contains {name}, and nothing is overwritten; name a new folder'):
        ask(scene(0)[0], 'heart', out_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_no_folder(ask, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(FileExistsError, match='is a file, not a folder'):
        ask(scene(0)[0], 'heart', out_dir=tmp_path / 'file')


def test_refused_answers_have_no_mask_file_and_a_picture_that_says_so(ask, tmp_path):
    picture, texts = scene(0)
    drawn = ask(picture, texts[1], draw=True)['visualization'][0]
    result = ask(picture, texts[1], out_dir=tmp_path, draw=True, refuse_below=1.0)
    (answer,) = result['predictions']
    assert answer['refused'] and 'mask_file' not in answer and not (tmp_path / 'masks').exists()
    assert not np.array_equal(result['visualization'][0], drawn)


@pytest.mark.parametrize(
    'text, name',
    [
        ('the red star', 'a_the_red_star.png'),
        ('../../etc/passwd', 'a_etc_passwd.png'),
        ('?', 'a_.png'),
        ('红色的星 ★', 'a_红色的星.png'),
    ],
)
def test_names_are_safe_and_readable(text, name, tmp_path):
    mask = coco_mask.encode(np.zeros((2, 3), np.uint8, order='F'))
    answer = AnswerFolder(tmp_path).add(Question('some/where/a.png', 0, text), dict(mask=mask))
    assert answer['mask_file'] == f'masks/{name}' and (tmp_path / 'masks' / name).is_file()
    long = AnswerFolder(tmp_path / 'new').add(Question('a' * 250, 0, 'é' * 300), dict(mask=mask))['mask_file']
    assert len(long.encode()) < 200
