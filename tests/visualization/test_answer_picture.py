import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmuniqrnet.structures.answers import Answer
from mmuniqrnet.visualization import draw_answer
from mmuniqrnet.visualization.answer_picture import PREDICTION_RGB, TRUTH_RGB, compute_ious
from mmuniqrnet.visualization.sheet import GAP, enlarge

GREY = 100
TRUTH_BOX, PRED_BOX = (20.0, 30.0, 70.0, 60.0), (40.0, 10.0, 95.0, 50.0)


def grey(height, width):
    return np.full((height, width, 3), GREY, np.uint8)


def mask(height, width, x1, y1, x2, y2):
    found = np.zeros((height, width), dtype=bool)
    found[y1:y2, x1:x2] = True
    return found


def panels(picture, height, width, factor, min_side=320):
    """Truth and prediction, cut out of a picture of both by what ``draw_answer`` says of the places."""
    h, w = height * factor, width * factor
    second = max(w, min_side) + GAP
    return picture[-h:, :w], picture[-h:, second : second + w]


def is_colour(pixels, colour):
    return (pixels == np.array(colour)).all(-1)


def distance_to_edges(shape, box):
    """Of each pixel's centre to the rectangle's outline, in pixels along the axis where it is greatest."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    x1, y1, x2, y2 = box
    return np.abs(np.maximum(np.maximum(x1 - x, x - x2), np.maximum(y1 - y, y - y2)))


@pytest.mark.parametrize(
    'height, width, factor', [(16, 16, 20), (64, 96, 5), (319, 500, 2), (320, 400, 1), (1000, 1200, 1)]
)
def test_boxes_are_where_they_must_be_and_nowhere_else(height, width, factor):
    share = np.array([width, height, width, height]) / 100
    truth, prediction = np.array(TRUTH_BOX) * share, np.array(PRED_BOX) * share
    picture = draw_answer(grey(height, width), 'the thing', Answer([truth]), Answer([prediction], score=0.5))
    line = max(2, round(min(height, width) * factor / 120))
    for panel, box, colour in zip(
        panels(picture, height, width, factor), (truth, prediction), (TRUTH_RGB, PREDICTION_RGB)
    ):
        assert panel.shape == (height * factor, width * factor, 3)
        distance = distance_to_edges(panel.shape, box * factor)
        assert is_colour(panel[distance < line / 2 - 1], colour).all()
        near = is_colour(panel, colour)
        assert near.any() and distance[near].max() <= line / 2 + 1
        touched = (panel != GREY).any(-1)
        assert distance[touched].max() <= line / 2 + 2  # with the thin dark lines beside it


def test_the_line_runs_along_all_four_edges():
    picture = draw_answer(grey(400, 400), '', None, Answer([(100, 50, 300, 200)]))
    panel = picture[-400:]
    for x, y in ((100, 120), (300, 120), (200, 50), (200, 200)):
        assert is_colour(panel[y, x], PREDICTION_RGB)


@pytest.mark.parametrize(
    'box',
    [
        (0, 0, 400, 400),
        (-50, -50, 500, 450),
        (399.9, 399.9, 400, 400),
        (0, 0, 0, 0),
        (600, 600, 700, 700),
        (300, 300, 100, 100),
        (200, 200, 201, 300),
    ],
)
def test_a_box_at_the_border_or_beyond_is_visible_on_the_image(box):
    panel = draw_answer(grey(400, 400), '', None, Answer([box]))[-400:]
    assert panel.shape == (400, 400, 3) and is_colour(panel, PREDICTION_RGB).sum() >= 9


def test_a_box_around_the_whole_image_has_its_full_line_on_all_sides():
    panel = draw_answer(grey(400, 600), '', None, Answer([(0, 0, 600, 400)]))[-400:]
    for edge in (panel[:3], panel[-3:], panel[:, :3], panel[:, -3:]):
        assert is_colour(edge, PREDICTION_RGB).all()


def test_a_mask_is_tinted_within_a_contour_and_not_outside():
    inside = mask(64, 64, 10, 20, 40, 50)
    picture = draw_answer(grey(64, 64), 'x', Answer(mask=inside), Answer(mask=~inside))
    truth, prediction = panels(picture, 64, 64, 5)
    large = np.kron(inside, np.ones((5, 5), dtype=bool))
    for panel, where, colour in ((truth, large, TRUTH_RGB), (prediction, ~large, PREDICTION_RGB)):
        assert ((panel != GREY).any(-1) == where).all()
        core = is_colour(panel[where], np.round(0.6 * GREY + 0.4 * np.array(colour)).astype(int))
        contour = is_colour(panel[where], colour)
        assert (core | contour).all() and core.mean() > 0.8 and contour.any()
    assert is_colour(truth[20 * 5, 10 * 5 : 40 * 5], TRUTH_RGB).all()


def test_truth_is_left_prediction_right_and_the_image_is_untouched():
    image = grey(330, 340)
    picture = draw_answer(image, 'x', Answer([TRUTH_BOX]), Answer([PRED_BOX]))
    truth, prediction = panels(picture, 330, 340, 1)
    assert is_colour(truth, TRUTH_RGB).any() and not is_colour(truth, PREDICTION_RGB).any()
    assert is_colour(prediction, PREDICTION_RGB).any() and not is_colour(prediction, TRUTH_RGB).any()
    assert (image == GREY).all()


def test_one_panel_without_truth_or_without_prediction_and_the_image_alone_without_both():
    image = grey(330, 340)
    for truth, prediction in ((Answer([TRUTH_BOX]), None), (None, Answer([PRED_BOX]))):
        picture = draw_answer(image, 'x', truth, prediction)
        assert picture.shape[1] == 340
        assert is_colour(picture, TRUTH_RGB).any() == (truth is not None)
        assert is_colour(picture, PREDICTION_RGB).any() == (prediction is not None)
    assert np.array_equal(draw_answer(image, ''), image)


def test_overlay_has_both_on_one_panel():
    picture = draw_answer(grey(330, 340), 'x', Answer([TRUTH_BOX]), Answer([PRED_BOX]), side_by_side=False)
    assert picture.shape[1] == 340
    assert is_colour(picture, TRUTH_RGB).any() and is_colour(picture, PREDICTION_RGB).any()


def test_the_expression_is_wrapped_into_more_rows_above_the_panels():
    none, one, many = (
        draw_answer(grey(330, 340), 'long words ' * count, Answer([TRUTH_BOX])).shape[0] for count in (0, 1, 30)
    )
    assert none < one < many
    picture = draw_answer(grey(330, 340), 'ein größerer Bär слева', Answer([TRUTH_BOX]))
    other = draw_answer(grey(330, 340), 'ein gr??erer B?r ?????', Answer([TRUTH_BOX]))
    assert picture.shape == other.shape and not np.array_equal(picture, other)
    assert np.array_equal(picture[-330:], other[-330:])


def test_a_sixteen_pixel_image_has_room_for_text():
    picture = draw_answer(grey(16, 8), 'the left one of the two', Answer([(1, 1, 5, 9)]), Answer([(1, 1, 5, 9)]))
    assert picture.shape[1] == 2 * 320 + GAP


def test_a_very_elongated_image_does_not_explode():
    image, factor = enlarge(grey(16, 1000), 320)
    assert factor == 1 and image.shape == (16, 1000, 3)
    image, factor = enlarge(grey(16, 100), 320)
    assert factor == 16 and image.shape[1] == 1600


def test_enlarging_repeats_pixels():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    large, factor = enlarge(image, 320)
    assert factor == 16
    assert np.array_equal(large, np.kron(image, np.ones((16, 16, 1), dtype=np.uint8)))


def test_ious_of_the_caption():
    truth = Answer([(0, 0, 10, 10)], mask(20, 20, 0, 0, 10, 10))
    found = compute_ious(truth, Answer([(0, 0, 10, 5)], mask(20, 20, 5, 0, 15, 10)))
    assert found == dict(box=pytest.approx(0.5), mask=pytest.approx(1 / 3))
    assert compute_ious(truth, Answer([(0, 0, 10, 5)])) == dict(box=pytest.approx(0.5), mask=None)
    assert compute_ious(None, Answer([(0, 0, 10, 5)])) == dict(box=None, mask=None)
    assert compute_ious(Answer([(0, 0, 1, 1)] * 2), Answer([(0, 0, 1, 1)]))['box'] is None


def test_a_box_that_is_not_finite_is_captioned_and_not_drawn():
    broken = draw_answer(grey(330, 340), 'x', None, Answer([(float('nan'), 0, 1, 1)]))
    assert (broken[-330:] == GREY).all()
    assert not np.array_equal(broken, draw_answer(grey(330, 340), 'x', None, Answer()))


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r'mask of the prediction is \[8, 9\], but the image of "x" is \[16, 16\]'):
        draw_answer(grey(16, 16), 'x', Answer(), Answer(mask=mask(8, 9, 0, 0, 2, 2)))


def test_truth_from_instances_in_polygons_and_rle():
    rle = coco_mask.encode(np.asfortranarray(mask(30, 40, 20, 5, 30, 15), dtype=np.uint8))
    instances = [dict(bbox=[2, 3, 12, 13], mask=[[2, 3, 12, 3, 12, 13, 2, 13]]), dict(bbox=[20, 5, 30, 15], mask=rle)]
    truth = Answer.of_truth(instances, 30, 40)
    assert truth.boxes == [[2, 3, 12, 13], [20, 5, 30, 15]]
    assert np.array_equal(truth.mask, mask(30, 40, 2, 3, 12, 13) | mask(30, 40, 20, 5, 30, 15))
    assert Answer.of_truth([dict(bbox=[2, 3, 12, 13])], 30, 40).mask is None
    assert not Answer.of_truth([], 30, 40).mask.any()


def test_the_best_of_several_predictions_is_the_answer():
    fields = dict(bboxes=np.array([[0, 0, 1, 1], [2, 2, 3, 3]]), scores=np.array([0.2, 0.9]))
    assert Answer.of_prediction(fields) == Answer([[2, 2, 3, 3]], None, 0.9)
    assert Answer.of_prediction(dict(bboxes=np.zeros((0, 4)), scores=np.zeros(0))) is None
