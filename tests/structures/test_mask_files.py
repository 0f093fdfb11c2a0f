import numpy as np
import pytest
from PIL import Image

from mmuniqrnet.structures.mask_files import read_mask_file
from mmuniqrnet.structures.masks import decode_mask
from mmuniqrnet.utils.errors import UserError

OBJECT = np.zeros((6, 8), dtype=bool)
OBJECT[1:4, 2:6] = True


def read(path):
    return decode_mask(read_mask_file(str(path), 6, 8), 6, 8)


def palette(indices, colours):
    image = Image.fromarray(np.asarray(indices, np.uint8), 'L').copy()
    image.putpalette([value for colour in colours for value in colour])
    return image


BLACK, WHITE, RED, VOID = (0, 0, 0), (255, 255, 255), (128, 0, 0), (224, 224, 192)
GOOD = {
    'palette, black first': palette(OBJECT, [BLACK, WHITE]),
    'palette, white first': palette(~OBJECT, [WHITE, BLACK]),
    'palette, red': palette(OBJECT * 7, [BLACK] * 7 + [RED]),
    'palette, two entries of one colour': palette(OBJECT + OBJECT * (np.arange(8) % 2), [BLACK, RED, RED]),
    'quantized': Image.fromarray(OBJECT).convert('RGB').quantize(2),
    '1 bit': Image.fromarray(OBJECT),
    '8 bits, 1': Image.fromarray(OBJECT.astype(np.uint8)),
    '8 bits, 255': Image.fromarray(OBJECT.astype(np.uint8) * 255),
    '16 bits, 1': Image.fromarray(OBJECT.astype(np.uint16)),
    '16 bits, 65535': Image.fromarray(OBJECT.astype(np.uint16) * 65535),
    'RGB, white': Image.fromarray(np.repeat(OBJECT[..., None] * np.uint8(255), 3, -1)),
    'RGB, red': Image.fromarray(OBJECT[..., None] * np.array(RED, np.uint8)),
}


@pytest.mark.parametrize('image', GOOD.values(), ids=GOOD)
def test_what_is_not_black_is_the_object(tmp_path, image):
    image.save(tmp_path / 'mask.png')
    assert (read(tmp_path / 'mask.png') == OBJECT).all()


@pytest.mark.parametrize('bits', [1, 2, 4])
def test_palettes_of_few_bits(tmp_path, bits):
    palette(~OBJECT, [WHITE, BLACK]).save(tmp_path / 'mask.png', bits=bits)
    assert (read(tmp_path / 'mask.png') == OBJECT).all()


def test_soft_edges_belong_to_a_white_object(tmp_path):
    soft = OBJECT * 255
    soft[4, 2:6] = [100, 90, 80, 70]
    for image in (Image.fromarray(soft.astype(np.uint8)), Image.fromarray(soft.astype(np.uint8)).convert('RGB')):
        image.save(tmp_path / 'mask.png')
        assert (read(tmp_path / 'mask.png') == (soft > 0)).all()


def void_border(object_value, void_value, dtype=np.uint8):
    pixels = OBJECT * dtype(object_value)
    pixels[0] = void_value
    return pixels.astype(dtype)


REFUSED = {
    'palette, void': (palette(void_border(1, 2), [BLACK, RED, VOID]), r'2 colours besides black \(#800000, #e0e0c0\)'),
    'palette, no black': (palette(OBJECT, [WHITE, RED]), '2 colours besides black'),
    'palette of black alone': (palette(OBJECT, [BLACK, BLACK]), 'palette with no colour but black'),
    'grey, objects 1 and 2': (Image.fromarray(void_border(1, 2)), r'2 colours besides black \(1, 2\)'),
    'grey, void': (Image.fromarray(void_border(1, 255)), r'2 colours besides black \(1, 255\)'),
    '16 bits, objects': (Image.fromarray(void_border(1, 300, np.uint16)), r'besides black \(1, 300\)'),
    'RGB, two colours': (palette(void_border(1, 2), [BLACK, RED, VOID]).convert('RGB'), '2 colours besides black'),
    'alpha': (Image.fromarray(OBJECT).convert('RGBA'), 'has mode RGBA'),
    'grey and alpha': (Image.fromarray(OBJECT).convert('L').convert('LA'), 'has mode LA'),
}


@pytest.mark.parametrize('image, reason', REFUSED.values(), ids=REFUSED)
def test_what_is_not_clear_is_refused(tmp_path, image, reason):
    image.save(tmp_path / 'mask.png')
    with pytest.raises(UserError, match=f'mask.png {".*" if "2 col" in reason else ""}.*{reason}'):
        read(tmp_path / 'mask.png')


def test_transparent_entries_of_a_palette(tmp_path):
    image = palette(~OBJECT, [WHITE, BLACK])
    image.save(tmp_path / 'background.png', transparency=1)
    assert (read(tmp_path / 'background.png') == OBJECT).all()
    image.save(tmp_path / 'object.png', transparency=0)
    with pytest.raises(UserError, match='transparent pixels that are not black'):
        read(tmp_path / 'object.png')


def test_a_jpeg_by_another_name(tmp_path):
    Image.fromarray(OBJECT.astype(np.uint8) * 255).save(tmp_path / 'mask.png', format='JPEG')
    with pytest.raises(UserError, match='is a JPEG, whose compression changes colours'):
        read(tmp_path / 'mask.png')


def test_a_mask_that_is_cut_off(tmp_path):
    Image.fromarray(np.random.default_rng(0).random((300, 300)) < 0.5).save(tmp_path / 'mask.png')
    (tmp_path / 'mask.png').write_bytes((tmp_path / 'mask.png').read_bytes()[:5000])
    with pytest.raises(UserError, match='mask.png is not a readable mask'):
        read_mask_file(str(tmp_path / 'mask.png'))
