"""mmdet's inferencer and its functions, asked with the shipped weights."""

import cv2
import numpy as np
import pytest
from helpers.nano_model import scene
from helpers.paths import NANO_CONFIG
from mmdet.apis import DetInferencer, inference_detector, init_detector

from mmuniqrnet.apis import UniQRNetInferencer, shipped_weights

pytestmark = [
    pytest.mark.filterwarnings('ignore:dataset_meta or class names'),
    pytest.mark.filterwarnings('ignore:palette does not exist'),
    pytest.mark.filterwarnings('ignore:Failed to add'),
]


@pytest.fixture(scope='module')
def asked(tmp_path_factory) -> tuple[str, str, dict]:
    """A picture, an expression, and what our own inferencer answers."""
    image, expressions = scene()
    path = str(tmp_path_factory.mktemp('picture') / 'scene.png')
    cv2.imwrite(path, image[..., ::-1])
    ask = UniQRNetInferencer(weights='shapes', device='cpu', show_progress=False)
    return path, expressions[0], ask(path, expressions[0])['predictions'][0]


def test_det_inferencer(asked, tmp_path):
    path, expression, answer = asked
    ask = DetInferencer(
        str(NANO_CONFIG), str(shipped_weights('shapes')), device='cpu', scope='mmuniqrnet', show_progress=False
    )
    (found,) = ask(path, texts=expression, out_dir=str(tmp_path))['predictions']
    assert np.allclose(found['bboxes'][0], answer['box'], atol=0.01)
    assert found['scores'][0] == pytest.approx(answer['score'], abs=1e-4)
    assert list((tmp_path / 'vis').iterdir())


def test_init_and_inference_detector(asked):
    path, expression, answer = asked
    model = init_detector(str(NANO_CONFIG), str(shipped_weights('shapes')), device='cpu')
    found = inference_detector(model, path, text_prompt=expression).pred_instances
    assert np.allclose(found.bboxes[0].numpy(), answer['box'], atol=0.01)
