import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from mmuniqrnet.visualization.text_image import DEJAVU, text_image, wrap

SIZE = 16


def ink(picture):
    return (255 - picture.astype(float)).sum()


def ink_of_words(text):
    """What Pillow alone draws, every word by itself, on a canvas that is large enough."""
    font, total = ImageFont.truetype(str(DEJAVU), SIZE), 0
    for word in text.split():
        canvas = Image.new('RGB', (4000, 100), 'white')
        ImageDraw.Draw(canvas).text((20, 20), word, font=font, fill='black')
        total += ink(np.array(canvas))
    return total


@pytest.mark.parametrize(
    'text',
    [
        'the second zebra from the left, jumping gygantically over a puddle of Ångström-deep water',
        'der große Teddybär — links',
        'красный круг слева от синего квадрата',
        'x' * 150,
        'the ' + 'y' * 90 + ' end',
    ],
)
@pytest.mark.parametrize('width', [64, 128, 640])
def test_all_of_the_text_is_there_and_nothing_is_cut(text, width):
    image = text_image(text, width, SIZE)
    assert image.shape[1] == width and image.dtype == np.uint8
    border = np.concatenate([image[0].ravel(), image[-1].ravel(), image[:, 0].ravel(), image[:, -1].ravel()])
    assert (border == 255).all()
    # rows broken within a word lose the rounding of glyph positions to pixels, but no glyph
    assert ink(image) == pytest.approx(ink_of_words(text), rel=0.03)


def test_a_narrower_image_is_taller():
    heights = [text_image('a rather long expression of many words', width, SIZE).shape[0] for width in (80, 200, 900)]
    assert heights[0] > heights[1] > heights[2]


def test_an_image_too_narrow_for_a_letter_is_widened():
    assert ink(text_image('WWW', 4, SIZE)) == pytest.approx(ink_of_words('W W W'), rel=0.03)


def test_rows_break_between_words_where_they_can():
    assert wrap('one two  three\nfour', 7, len) == ['one two', 'three', 'four']
    assert wrap('a elephantine b', 4, len) == ['a', 'elep', 'hant', 'ine', 'b']
    assert wrap('', 4, len) == ['']


def test_a_character_without_font_warns_and_is_drawn_as_a_box():
    with pytest.warns(UserWarning, match=r'no installed font has .* \(U\+10FFF0\)'):
        image = text_image('\U0010fff0', 100, SIZE)
    assert ink(image) > 0


def test_letters_of_different_scripts_differ():
    images = [text_image(letter, 40, SIZE) for letter in 'qжשΩ']
    assert len({image.tobytes() for image in images}) == 4
