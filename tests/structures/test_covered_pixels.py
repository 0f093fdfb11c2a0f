"""Whether polygons cover a pixel, against drawing them."""

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mmuniqrnet.structures.masks import _is_large, covers_pixel


def drawn(polygon: list, height: int, width: int) -> bool:
    return mask_utils.area(mask_utils.frPyObjects([list(map(float, polygon))], height, width))[0] > 0


@pytest.mark.parametrize('side', [3, 40, 600])
def test_as_drawn(side):
    rng = np.random.default_rng(side)
    kinds = set()
    for number in range(300):
        start, step = rng.uniform(0, side, 2), rng.uniform(-side, side, 2)
        across = np.array([-step[1], step[0]]) / np.hypot(*step) * rng.choice([0.05, 0.5, 1, 5, 50])
        corners = np.array([start, start + step, start + step + across, start + across])
        polygon = (corners + rng.choice([0, side / 2]) * (number % 7 == 0)).round(2).flatten().tolist()
        found = covers_pixel([polygon], 500, 700)
        assert found == drawn(polygon, 500, 700), polygon
        kinds.add((found, _is_large(polygon, 500, 700)))
    assert (False, False) in kinds and (True, False) in kinds and ((True, True) in kinds) == (side == 600)


def test_any_part_is_enough():
    nothing, something = [10, 10, 10.2, 10, 10.2, 10.2], [2, 2, 8, 2, 8, 8]
    assert covers_pixel([nothing, something], 20, 20) and not covers_pixel([nothing, nothing], 20, 20)
