import numpy as np
import pytest
from helpers.made_scenes import coco_of, mirrored
from PIL import Image

from mmuniqrnet.analysis.describe.colours import Colours
from mmuniqrnet.analysis.describe.language import load_language
from mmuniqrnet.analysis.describe.meanings import Facts
from mmuniqrnet.analysis.describe.phrases import all_texts
from mmuniqrnet.analysis.describe.scene import Picture, Thing, read_pictures
from mmuniqrnet.datasets.refshapes.writer import draw_scene
from mmuniqrnet.structures.masks import encode_mask, xywh_to_xyxy

RED, BLUE, WHITE, BLACK, GREEN = (200, 20, 30), (20, 40, 190), (245, 245, 245), (25, 25, 25), (30, 150, 40)
SKIN, PAVEMENT, SKY = (215, 170, 140), (150, 140, 120), (170, 200, 225)
LEFT, RIGHT = (60, 80, 120, 230), (260, 80, 320, 230)
PEOPLE = [('person', LEFT), ('person', RIGHT)]


def painted(*people, noise=0):
    """A street with people: (box, colour of the upper half, of the lower half), the head above."""
    pixels = np.empty((300, 400, 3), dtype=np.float64)
    pixels[:150], pixels[150:] = SKY, PAVEMENT
    for (x1, y1, x2, y2), upper, lower in people:
        height = y2 - y1
        pixels[y1 : y1 + height // 6, x1 + 15 : x2 - 15] = SKIN
        pixels[y1 + height // 6 : y1 + height // 2, x1:x2] = upper
        pixels[y1 + height // 2 : y2, x1 + 10 : x2 - 10] = lower
    pixels += np.random.default_rng(0).normal(0, noise, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def said(picture, target, things=PEOPLE):
    """All texts about colours only, of an object."""
    english = load_language()
    (one,) = read_pictures(coco_of(things))
    facts = Facts(one, english, Colours(one, picture, english.wearers))
    meanings = [meaning for meaning in facts.meanings(target, ('color',)) if meaning.noun.coloured]
    return {text for meaning in meanings for text in all_texts(english, meaning)}


def test_clothes_that_tell_people_apart():
    picture = painted((LEFT, RED, BLUE), (RIGHT, WHITE, BLACK), noise=6)
    left, right = said(picture, 0), said(picture, 1)
    assert {'person in red', 'red shirt', 'person with blue trousers'} <= left
    assert {'person in white', 'person with dark trousers', 'person with black pants'} <= right
    assert not any('white' in text or 'black' in text for text in left)
    assert not any('man' in text.split() or 'woman' in text.split() for text in left | right)


def test_the_mirrored_picture_says_the_same():
    picture = painted((LEFT, RED, BLUE), (RIGHT, WHITE, BLACK), noise=6)
    flipped = Image.fromarray(np.asarray(picture)[:, ::-1])
    assert [said(flipped, i, mirrored(PEOPLE)) for i in (0, 1)] == [said(picture, i) for i in (0, 1)]


@pytest.mark.parametrize('other', [(RED, BLACK), ((170, 50, 60), BLACK), (WHITE, RED)])
def test_a_colour_that_another_may_have_is_not_said(other):
    assert not any('red' in text for text in said(painted((LEFT, RED, BLUE), (RIGHT, *other)), 0))


def test_uncertain_colours_are_not_said():
    between = tuple((a + b) // 2 for a, b in zip(RED, WHITE))
    assert not said(painted((LEFT, SKIN, SKIN), (RIGHT, WHITE, BLACK)), 0)
    assert not any('pink' in text or 'red' in text for text in said(painted((LEFT, between, BLUE)), 0, PEOPLE[:1]))
    patterned = painted((LEFT, RED, BLUE))
    pixels = np.asarray(patterned).copy()
    pixels[80:230, 60:120:2] = GREEN
    assert not said(Image.fromarray(pixels), 0, PEOPLE[:1])
    assert not said(painted((LEFT, RED, BLUE)).convert('L'), 0, PEOPLE[:1])


def test_what_stands_in_front_hides_colours():
    dog = ('dog', (55, 90, 125, 200))
    assert not said(painted((LEFT, RED, BLUE)), 0, [PEOPLE[0], dog])


def test_halves_are_those_of_people_only_and_the_mask_decides():
    car = ('car', (60, 150, 160, 210))
    pixels = np.asarray(painted()).copy()
    pixels[150:210, 60:160] = RED
    assert 'red car' in said(Image.fromarray(pixels), 0, [car])
    pixels[150:210, 60:105] = GREEN
    assert not any('red' in text for text in said(Image.fromarray(pixels), 0, [car]))
    seen = dict(segmentation=[[105, 150, 160, 150, 160, 210, 105, 210]])
    assert 'red car' in said(Image.fromarray(pixels), 0, [(*car, seen)])


def test_colours_of_drawn_scenes_are_those_they_were_drawn_with():
    """RefShapes draws on textured backgrounds, with shades; what its objects are is known."""
    said_of, right = 0, 0
    for index in range(25):
        pixels, layout, _ = draw_scene(5, 'val', index)
        objects = [placed for placed in layout.objects if min(placed.bbox[2:]) >= 22]
        things = tuple(Thing(one.shape, tuple(xywh_to_xyxy(one.bbox)), encode_mask(one.mask)) for one in objects)
        picture = Picture('a', layout.width, layout.height, things, frozenset(one.shape for one in objects))
        colours = Colours(picture, Image.fromarray(pixels[..., ::-1]), frozenset())
        for own, found, may_be in zip(objects, colours.sure['whole'], colours.maybe['whole']):
            assert found in (None, own.color) and own.color in may_be
            said_of, right = said_of + 1, right + (found == own.color)
    assert right > 0.8 * said_of > 40
