import numpy as np
import pytest
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from mmuniqrnet.datasets.transforms import RandomFlipWithText, swap_left_right
from mmuniqrnet.utils.errors import UserError

H, W = 6, 8


@pytest.mark.parametrize(
    'text, swapped',
    [
        ('man on the left', 'man on the right'),
        ('Left man', 'Right man'),
        ('LEFT', 'RIGHT'),
        ('left of the right one', 'right of the left one'),
        ('left-hand side, leftmost, right-most', 'right-hand side, rightmost, left-most'),
        ('Rightmost (LEFTMOST)', 'Leftmost (RIGHTMOST)'),
        ("the left's, upper-left, 2 left", "the right's, upper-right, 2 right"),
        ('lefty lefthand', 'righty righthand'),
        ('to the\nleft', 'to the\nright'),
    ],
)
def test_words_are_swapped_and_keep_their_case(text, swapped):
    assert swap_left_right(text) == swapped
    assert swap_left_right(swapped) == text


@pytest.mark.parametrize(
    'text', ['bright upright copyright', 'cleft', 'Brightly', 'leftover', 'the righteous', 'top', '']
)
def test_words_that_only_contain_them_stay(text):
    assert swap_left_right(text) == text


def item(text='left cup'):
    rng = np.random.default_rng(0)
    mask = np.zeros((1, H, W), np.uint8)
    mask[0, 1:4, 2:5] = 1
    return dict(
        img=rng.integers(0, 255, (H, W, 3), dtype=np.uint8),
        img_shape=(H, W),
        text=text,
        gt_bboxes=HorizontalBoxes([[2.0, 1.0, 5.0, 4.0]]),
        gt_masks=BitmapMasks(mask, H, W),
        instances=[dict(bbox=[2.0, 1.0, 5.0, 4.0])],
    )


def test_a_flip_mirrors_image_box_mask_and_text():
    given, out = item(), RandomFlipWithText(prob=1.0)(item())
    assert np.array_equal(out['img'], given['img'][:, ::-1])
    assert out['gt_bboxes'].tensor.tolist() == [[W - 5.0, 1.0, W - 2.0, 4.0]]
    assert np.array_equal(out['gt_masks'].to_ndarray(), given['gt_masks'].to_ndarray()[:, :, ::-1])
    assert out['text'] == 'right cup' and out['flip'] is True and out['flip_direction'] == 'horizontal'
    assert out['instances'] == given['instances']  # the metric's truth stays in original pixels


def test_twice_is_the_identity():
    flip = RandomFlipWithText(prob=1.0)
    given, out = item(), flip(flip(item()))
    assert np.array_equal(out['img'], given['img']) and out['text'] == given['text']
    assert out['gt_bboxes'].tensor.tolist() == given['gt_bboxes'].tensor.tolist()
    assert np.array_equal(out['gt_masks'].to_ndarray(), given['gt_masks'].to_ndarray())


@pytest.mark.parametrize('words', ['whole', 'all'])
@pytest.mark.parametrize('text', ['左边的杯子', 'левая чашка', 'كوب left'])
def test_what_it_cannot_swap_is_not_flipped(text, words):
    check_not_flipped(text, words)


@pytest.mark.parametrize('text', ['elft cup', 'cup right behind her', 'third cup'])
def test_what_is_in_doubt_is_not_flipped(text):
    check_not_flipped(text, 'all')


def check_not_flipped(text: str, words: str) -> None:
    given, out = item(text), RandomFlipWithText(prob=1.0, words=words)(item(text))
    assert np.array_equal(out['img'], given['img']) and out['text'] == text and out['flip'] is False
    assert out['gt_bboxes'].tensor.tolist() == given['gt_bboxes'].tensor.tolist()


@pytest.mark.parametrize('text', ['left café', 'the “left” one – there', 'left ☕'])
def test_latin_letters_with_accents_and_signs_are_no_hindrance(text):
    assert RandomFlipWithText(prob=1.0)(item(text))['text'] == text.replace('left', 'right')


def test_parts_of_words_are_heeded_only_where_asked_for():
    """QRNet's recipe turns the image and leaves such words as they are."""
    for words, text in (('all', 'topright cup'), ('whole', 'topleft cup')):
        given, out = item('topleft cup'), RandomFlipWithText(prob=1.0, words=words)(item('topleft cup'))
        assert np.array_equal(out['img'], given['img'][:, ::-1]) and out['text'] == text
    assert RandomFlipWithText().words == 'whole'


def test_other_words_are_refused():
    with pytest.raises(UserError, match="should be 'whole' or 'all', not 'every'"):
        RandomFlipWithText(words='every')


def test_the_probability():
    np.random.seed(0)
    flip = RandomFlipWithText(prob=0.3)
    flipped = [flip(item()) for _ in range(400)]
    assert 0.2 < np.mean([i['flip'] for i in flipped]) < 0.4
    assert all(('right' in i['text']) == i['flip'] for i in flipped)
    assert not any(RandomFlipWithText(prob=0.0)(item())['flip'] for _ in range(50))
