"""Photographs with an EXIF orientation: asked about as people see them, or about the pixels as they are stored."""

import json

import numpy as np
import pytest
from helpers.nano_model import nano_checkpoint, nano_config, scene
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.utils.errors import UserError

TAG = 0x0112
KINDS = [('png', {}), ('webp', dict(lossless=True)), ('tif', {})]
# What turns an upright image to how it is stored under each value.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return nano_checkpoint(tmp_path_factory.mktemp('weights') / 'nano.safetensors')


@pytest.fixture(scope='module')
def ask(weights) -> UniQRNetInferencer:
    return UniQRNetInferencer(weights=weights, device='cpu', show_progress=False)


@pytest.fixture(scope='module')
def asked() -> tuple[np.ndarray, list[str]]:
    picture, texts = scene(1)
    assert picture.shape[0] != picture.shape[1]
    return picture, texts[:2]


def tagged(picture: np.ndarray, value: int) -> tuple[Image.Image, Image.Exif]:
    """The stored pixels that look like ``picture`` with this orientation, and the tag."""
    image, exif = Image.fromarray(picture), Image.Exif()
    exif[TAG] = value
    return image if STORED[value] is None else image.transpose(STORED[value]), exif


def but(answers: list[dict], *keys: str) -> list[dict]:
    return [{key: value for key, value in answer.items() if key not in keys} for answer in answers]


@pytest.mark.parametrize('suffix, options', KINDS)
def test_a_scene_that_looks_the_same_gives_the_same_answer(ask, asked, suffix, options, tmp_path):
    picture, texts = asked
    expected = ask(picture, texts)['predictions']
    assert [answer['frame'] for answer in expected] == ['upright'] * 2
    paths = [tmp_path / f'{value}.{suffix}' for value in STORED]
    for value, path in zip(STORED, paths):
        image, exif = tagged(picture, value)
        image.save(path, exif=exif, **options)
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(Image.open(path))), picture)
    for given in (*paths, *map(Image.open, paths)):
        assert but(ask(given, texts)['predictions'], 'image') == but(expected, 'image'), given
    in_folder = ask(tmp_path, texts[0])['predictions']
    assert len(in_folder) == 8 and all(answer['size'] == list(picture.shape[:2]) for answer in in_folder)


@pytest.mark.parametrize('suffix, options', KINDS[:2])
@pytest.mark.parametrize('value', [1, 2, 6, 7])
def test_stored_pixels_can_be_asked_for(ask, asked, suffix, options, value, tmp_path):
    picture, texts = asked
    image, exif = tagged(picture, value)
    image.save(tmp_path / f'a.{suffix}', exif=exif, **options)
    expected = but(ask(np.asarray(image), texts)['predictions'], 'image', 'frame')
    for given in (tmp_path / f'a.{suffix}', Image.open(tmp_path / f'a.{suffix}')):
        answers = ask(given, texts, orientation='stored')['predictions']
        assert but(answers, 'image', 'frame') == expected
        assert {answer['frame'] for answer in answers} == {'stored'}


def test_tiff_comes_upright_from_every_decoder_and_says_so(ask, asked, tmp_path):
    picture, texts = asked
    image, exif = tagged(picture, 6)
    image.save(tmp_path / 'a.tif', exif=exif)
    upright, stored = (ask(tmp_path / 'a.tif', texts, orientation=o)['predictions'] for o in ('upright', 'stored'))
    assert upright == stored and stored[0]['frame'] == 'upright'


def test_files_pictures_gates_and_samples_are_upright(ask, asked, tmp_path):
    picture, texts = asked
    image, exif = tagged(picture, 6)
    image.save(tmp_path / 'a.png', exif=exif)
    result = ask(tmp_path / 'a.png', texts, out_dir=tmp_path / 'out', draw=True, return_gates=True)
    drawn = ask(picture, texts, draw=True)['visualization']
    assert all(np.array_equal(*pair) for pair in zip(result['visualization'], drawn, strict=True))
    told = json.loads((tmp_path / 'out' / 'predictions.json').read_text())['predictions']
    for answer, said in zip(result['predictions'], told, strict=True):
        assert said['frame'] == answer['frame'] == 'upright' and said['size'] == list(picture.shape[:2])
        mask = np.array(Image.open(tmp_path / 'out' / answer['mask_file']))
        assert mask.shape == picture.shape[:2] and np.array_equal(mask, 255 * coco_mask.decode(answer['mask']))
        assert all(gate.shape == picture.shape[:2] for gate in answer['gates'].values())
    (sample,) = ask(tmp_path / 'a.png', texts[0], return_datasamples=True)['predictions']
    assert sample.frame == 'upright' and sample.pred_instances.masks.shape[1:] == picture.shape[:2]


def test_a_photograph_is_decoded_as_by_the_pipeline_and_then_turned(ask, asked, tmp_path):
    picture, texts = asked
    image, exif = tagged(picture, 8)
    image.save(tmp_path / 'a.jpg', exif=exif, quality=80)
    stored = ask.pipeline(tmp_path / 'a.jpg', texts[0], 'stored').picture
    assert stored.shape == (*picture.shape[1::-1], 3)
    assert np.array_equal(ask.pipeline(tmp_path / 'a.jpg', texts[0]).picture, np.rot90(stored))
    assert not np.array_equal(np.rot90(stored), picture)


@pytest.mark.parametrize('color_type', ['color', 'color_ignore_orientation'])
@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_the_flags_of_the_config_change_nothing_about_it(color_type, backend, weights, ask, asked, tmp_path):
    picture, texts = asked
    cfg = nano_config()
    cfg.test_dataloader.dataset.pipeline[0].update(color_type=color_type, imdecode_backend=backend)
    other = UniQRNetInferencer(cfg, weights, 'cpu', show_progress=False)
    image, exif = tagged(picture, 5)
    image.save(tmp_path / 'a.png', exif=exif)
    for orientation in ('upright', 'stored'):
        expected = ask(tmp_path / 'a.png', texts, orientation=orientation)
        assert other(tmp_path / 'a.png', texts, orientation=orientation) == expected


@pytest.mark.parametrize('damaged', [b'x', b'Exif\x00\x00junk', b'Exif\x00\x00II*\x00\xff\xff\xff\xff'])
def test_damaged_exif_is_as_none(ask, asked, damaged, tmp_path):
    picture, texts = asked
    Image.fromarray(picture).save(tmp_path / 'a.png', exif=damaged)
    expected = but(ask(picture, texts)['predictions'], 'image')
    for given in (tmp_path / 'a.png', Image.open(tmp_path / 'a.png')):
        assert but(ask(given, texts)['predictions'], 'image') == expected


def test_a_file_too_large_for_its_tag_to_be_read_is_an_error_of_its_own(ask, asked, tmp_path, monkeypatch):
    picture, texts = asked
    Image.fromarray(picture).save(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
    (answer,) = ask(tmp_path / 'a.png', texts[0])['predictions']
    assert 'too many pixels' in answer['error'] and "orientation='stored'" in answer['error']
    (answer,) = ask(tmp_path / 'a.png', texts[0], orientation='stored')['predictions']
    assert answer['frame'] == 'stored' and answer['box'] is not None


def test_other_orientations_are_refused(ask, asked):
    with pytest.raises(UserError, match="orientation should be 'upright' or 'stored', not 'exif'"):
        ask(*asked, orientation='exif')
