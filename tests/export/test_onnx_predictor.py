"""The parts of predictor.py against the libraries that they stand in for."""

from types import SimpleNamespace

import cv2
import mmcv
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from pycocotools import mask as mask_utils

from mmuniqrnet.apis.reading import ExpressionReader
from mmuniqrnet.export.predictor import (
    OnnxPredictor,
    encode_rle,
    new_size,
    read_image,
    read_rgb,
    resize_image,
    resize_map,
    words_of,
)
from mmuniqrnet.export.recipe import exported_tokenizer
from mmuniqrnet.models.text_encoder import load_tokenizer


def sizes(count: int, largest: int = 200) -> list[tuple[int, ...]]:
    drawn = np.random.default_rng(0).integers(1, largest, (count, 4)).tolist()
    special = [(1, 1, 9, 7), (2, 3, 1, 1), (64, 96, 32, 48), (60, 64, 120, 128), (90, 60, 30, 20), (64, 40, 32, 80)]
    return [tuple(size) for size in drawn] + special


def test_images_are_resized_to_the_bit_as_by_opencv():
    rng = np.random.default_rng(1)
    for height, width, new_height, new_width in sizes(150):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = mmcv.imresize(image, (new_width, new_height), backend='cv2')
        np.testing.assert_array_equal(resize_image(image, (new_height, new_width)), expected)


def test_sizes_are_rounded_as_by_mmcv():
    for height, width, long_side, _ in sizes(300, 900):
        for scale in ((640, 640), (long_side + 1, 333)):
            assert new_size((height, width), scale, True) == mmcv.rescale_size((width, height), scale)[::-1]
    assert new_size((50, 70), (64, 32), False) == (32, 64)


def test_maps_are_resized_as_by_torch():
    rng = np.random.default_rng(2)
    for height, width, new_height, new_width in sizes(100):
        values = rng.normal(size=(height, width)).astype(np.float32)
        expected = F.interpolate(
            torch.from_numpy(values)[None, None], size=(new_height, new_width), mode='bilinear', align_corners=False
        )
        np.testing.assert_allclose(resize_map(values, (new_height, new_width)), expected[0, 0], atol=1e-4)


def test_masks_are_encoded_as_by_pycocotools():
    rng = np.random.default_rng(3)
    masks = [rng.random((h, w)) > level for h, w, *_ in sizes(60) for level in (0.02, 0.5, 0.98)]
    masks += [np.zeros((7, 5), bool), np.ones((7, 5), bool), np.ones((1, 1), bool), np.eye(300, 700, dtype=bool)]
    for mask in masks:
        expected = mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8))
        assert encode_rle(mask) == dict(size=list(mask.shape), counts=expected['counts'].decode())


@pytest.mark.parametrize(
    'name, mode, dtype',
    [
        ('grey.png', 'L', np.uint8),
        ('deep.png', 'I;16', np.uint16),
        ('veil.png', 'RGBA', np.uint8),
        ('palette.png', 'P', np.uint8),
        ('colour.bmp', 'RGB', np.uint8),
    ],
)
def test_files_are_read_as_the_pipeline_reads_them(name, mode, dtype, tmp_path):
    rng = np.random.default_rng(4)
    channels = dict(RGBA=(4,), RGB=(3,)).get(mode, ())
    values = rng.integers(0, np.iinfo(dtype).max, (13, 17, *channels), dtype=dtype)
    image = Image.fromarray(values) if mode != 'P' else Image.fromarray(values).convert('P')
    image.save(tmp_path / name)
    # With this flag mmcv gives BGR, whatever order one asks for.
    expected = mmcv.imread(str(tmp_path / name), 'color_ignore_orientation')[..., ::-1]
    np.testing.assert_array_equal(read_rgb(tmp_path / name), expected)


@pytest.mark.parametrize('words', ['the Red STAR', None])
def test_unknown_words_are_those_of_the_inferencer(words):
    tokenizer = load_tokenizer('mmuniqrnet:refshapes')
    predictor = OnnxPredictor.__new__(OnnxPredictor)  # no network is asked
    predictor.tokenizer = exported_tokenizer(tokenizer, 16)
    predictor.known = None if words is None else set(words_of(predictor._normalized(words)))
    read = ExpressionReader(SimpleNamespace(tokenizer=tokenizer, max_length=16), words)
    for text in ('the RED star', 'Stars, red-flag!', 'the flâg', '狗 star😀 😀, ?!', 'red ' * 20 + 'flag'):
        assert predictor.unknown_words(text) == read(text).unknown, text
    assert (predictor.unknown_words('a woman') is None) == (words is None)


@pytest.mark.parametrize('value', range(1, 9))
@pytest.mark.parametrize('suffix, options', [('png', {}), ('webp', dict(lossless=True)), ('tif', {})])
def test_images_are_turned_as_by_pillow(value, suffix, options, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = value
    pixels = np.random.default_rng(5).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(pixels).save(path, exif=exif, **options)
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    upright, frame = read_image(path)
    np.testing.assert_array_equal(upright, expected)
    stored, other = read_image(path, 'stored')
    turned_by_pillow = suffix == 'tif' and value > 1
    np.testing.assert_array_equal(stored, expected if turned_by_pillow else pixels)
    assert (frame, other) == ('upright', 'upright' if turned_by_pillow else 'stored')
    np.testing.assert_array_equal(read_image(Image.open(path))[0], expected)


@pytest.mark.parametrize('damaged', [b'Exif\x00\x00II*\x00\xff\xff\xff\xff', b'Exif\x00\x00junk', b'x'])
def test_damaged_exif_turns_nothing(damaged, tmp_path):
    pixels = np.random.default_rng(5).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'a.png', exif=damaged)
    np.testing.assert_array_equal(read_rgb(tmp_path / 'a.png'), pixels)


def test_photographs_are_read_as_the_pipeline_reads_them(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right when shown
    smooth = cv2.GaussianBlur(np.random.default_rng(5).integers(0, 256, (40, 60, 3), dtype=np.uint8), (0, 0), 3)
    Image.fromarray(smooth).save(tmp_path / 'turned.jpg', exif=exif)
    read = read_rgb(tmp_path / 'turned.jpg', 'stored')
    assert read.shape == (40, 60, 3)
    expected = mmcv.imread(str(tmp_path / 'turned.jpg'), 'color_ignore_orientation')[..., ::-1]
    assert np.abs(read.astype(int) - expected).max() <= 2  # two JPEG decoders


@pytest.mark.parametrize(
    'image, message',
    [
        ('nowhere.png', 'there is no image nowhere.png'),
        (__file__, 'test_onnx_predictor.py is not an image that Pillow can read'),
        (np.zeros((4, 4, 3), np.float32), r'this is float32 \[4, 4, 3\]'),
        (np.zeros((4, 4), np.uint8), r'this is uint8 \[4, 4\]'),
    ],
)
def test_what_is_no_image_is_said(image, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_rgb(image)
