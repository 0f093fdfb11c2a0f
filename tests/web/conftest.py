from pathlib import Path
from typing import NamedTuple

import cv2
import pytest
from helpers.web_samples import make_weights

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.datasets.refshapes.writer import draw_scene
from mmuniqrnet.utils.errors import UserError


@pytest.fixture(scope='session')
def weights(tmp_path_factory) -> Path:
    """The shipped weights; where there are none, random ones of the same network."""
    from mmuniqrnet.apis import shipped_weights

    try:
        return shipped_weights('shapes')
    except UserError:
        return make_weights(tmp_path_factory.mktemp('weights') / 'random.pth')


@pytest.fixture(scope='session')
def inferencer(weights) -> UniQRNetInferencer:
    return UniQRNetInferencer(weights=weights, device='cpu', show_progress=False)


class Scene(NamedTuple):
    path: Path
    phrases: list[str]


@pytest.fixture(scope='session')
def scene(tmp_path_factory) -> Scene:
    """A picture of RefShapes and its phrases."""
    picture, _, described = draw_scene(20240, 'val', 1)
    path = tmp_path_factory.mktemp('scenes') / 'scene_1.png'
    cv2.imwrite(str(path), picture)
    return Scene(path, [expression.raw for expressions in described for expression in expressions])
