import pytest

from mmuniqrnet.structures.box_formats import polygons_to_pixels, to_xyxy_pixels

WIDTH, HEIGHT = 640, 480


@pytest.mark.parametrize(
    ('box', 'layout', 'units'),
    [
        ([64, 48, 320, 240], 'xyxy', 'pixels'),
        ([64, 48, 256, 192], 'xywh', 'pixels'),
        ([192, 144, 256, 192], 'cxcywh', 'pixels'),
        ([48, 64, 240, 320], 'yxyx', 'pixels'),
        ([0.1, 0.1, 0.5, 0.5], 'xyxy', 'fraction'),
        ([0.3, 0.3, 0.4, 0.4], 'cxcywh', 'fraction'),
        ([100, 100, 500, 500], 'xyxy', 'thousandths'),
        ([100, 100, 400, 400], 'xywh', 'thousandths'),
    ],
)
def test_one_box_in_all_formats(box, layout, units):
    assert to_xyxy_pixels(box, WIDTH, HEIGHT, layout, units) == pytest.approx([64, 48, 320, 240])


@pytest.mark.parametrize(
    ('box', 'says'),
    [
        ([1, 2, 3], 'must be four numbers'),
        ('1234', 'must be four numbers'),
        ([1, 2, 3, True], 'must be four numbers'),
        ([1, 2, float('nan'), 4], 'not finite'),
        ([10, 10, 5, 20], 'read as xyxy, has a negative width or height'),
    ],
)
def test_what_is_no_box(box, says):
    with pytest.raises(ValueError, match=says):
        to_xyxy_pixels(box, WIDTH, HEIGHT)


def test_polygons_scale_by_width_and_height():
    assert polygons_to_pixels([[0, 0, 1, 0, 1, 1]], WIDTH, HEIGHT, 'fraction') == [[0, 0, WIDTH, 0, WIDTH, HEIGHT]]
    assert polygons_to_pixels([[5, 5, 6, 6, 7, 5]], WIDTH, HEIGHT) == [[5, 5, 6, 6, 7, 5]]
