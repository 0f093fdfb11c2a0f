import json
import re

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from mmengine.visualization import MLflowVisBackend

from mmuniqrnet.registry import VISUALIZERS
from mmuniqrnet.structures.answers import Answer
from mmuniqrnet.visualization import ReferringVisualizer, draw_answer

HEIGHT, WIDTH = 60, 80
BOX, TRUTH_BOX = [10.0, 12.0, 50.0, 40.0], [12.0, 12.0, 50.0, 42.0]


def image():
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def mask_of(box):
    x1, y1, x2, y2 = map(int, box)
    found = np.zeros((HEIGHT, WIDTH), dtype=bool)
    found[y1:y2, x1:x2] = True
    return found


def sample(truth=True, boxes=True, masks=True, **meta):
    x1, y1, x2, y2 = TRUTH_BOX
    instance = dict(bbox=TRUTH_BOX, bbox_label=0, ignore_flag=0, mask=[[x1, y1, x2, y1, x2, y2, x1, y2]])
    meta = dict(text='the box', ori_shape=(HEIGHT, WIDTH), img_path='a.png') | meta
    found = DetDataSample(metainfo=meta | (dict(instances=[instance]) if truth else {}))
    found.pred_instances = InstanceData(scores=torch.tensor([0.75]), labels=torch.tensor([0]))
    if boxes:
        found.pred_instances.bboxes = torch.tensor([BOX])
    if masks:
        found.pred_instances.masks = torch.from_numpy(mask_of(BOX)[None])
    return found


TRUTH = Answer([TRUTH_BOX], mask_of(TRUTH_BOX))
PREDICTION = Answer([BOX], mask_of(BOX), 0.75)


def drawn(data_sample, tmp_path, **kwargs):
    """What ends in a file, RGB."""
    ReferringVisualizer().add_datasample('x', image(), data_sample, out_file=str(tmp_path / 'x.png'), **kwargs)
    return cv2.imread(str(tmp_path / 'x.png'))[..., ::-1]


@pytest.mark.parametrize(
    'made, kwargs, truth, prediction',
    [
        (sample(), {}, TRUTH, PREDICTION),
        (sample(truth=False), {}, None, PREDICTION),
        (sample(masks=False), {}, TRUTH, Answer([BOX], None, 0.75)),
        (sample(boxes=False), {}, TRUTH, Answer([], mask_of(BOX), 0.75)),
        (sample(), dict(draw_gt=False), None, PREDICTION),
        (sample(), dict(draw_pred=False), TRUTH, None),
    ],
)
def test_what_the_sample_has_is_drawn(tmp_path, made, kwargs, truth, prediction):
    assert np.array_equal(drawn(made, tmp_path, **kwargs), draw_answer(image(), 'the box', truth, prediction))


def test_an_answer_of_low_score_is_not_drawn(tmp_path):
    picture = drawn(sample(truth=False), tmp_path, pred_score_thr=0.8)
    height, width = HEIGHT * 6, WIDTH * 6
    assert np.array_equal(picture[-height:, :width], np.kron(image(), np.ones((6, 6, 1), np.uint8)))


def test_no_sample_is_the_image_alone(tmp_path):
    assert np.array_equal(drawn(None, tmp_path), np.kron(image(), np.ones((6, 6, 1), np.uint8)))


def test_pictures_go_to_the_backends_unless_to_a_file(tmp_path):
    config = dict(
        type='ReferringVisualizer', name='backends', vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path)
    )
    visualizer = VISUALIZERS.build(config)
    visualizer.add_datasample('tag', image(), sample(), step=7)
    visualizer.add_datasample('other', image(), sample(), step=8, out_file=str(tmp_path / 'file.png'))
    stored = sorted((tmp_path / 'vis_data' / 'vis_image').iterdir())
    assert [path.name for path in stored] == ['tag_7.png']
    expected = draw_answer(image(), 'the box', TRUTH, PREDICTION)
    assert np.array_equal(cv2.imread(str(stored[0]))[..., ::-1], expected)
    assert visualizer.get_image().shape == expected.shape


def test_an_image_that_was_turned_is_told():
    with pytest.raises(ValueError, match=r'image a.png is \[80, 60\], .* \[60, 80\].*color_ignore_orientation'):
        ReferringVisualizer().add_datasample('x', image().transpose(1, 0, 2), sample())


class Recorder(MLflowVisBackend):
    """What MLflow would be given, without its server."""

    def __init__(self):
        self.given = {}

    def add_scalar(self, name, value, step=0, **kwargs):
        self.given[name] = value

    def add_scalars(self, scalar_dict, step=0, file_path=None, **kwargs):
        self.given.update(scalar_dict)

    def add_image(self, name, image, step=0, **kwargs):
        self.given[name] = image


def test_mlflow_gets_names_that_it_accepts_and_the_others_get_ours(tmp_path):
    visualizer = ReferringVisualizer(vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path))
    recorder = Recorder()
    visualizer._vis_backends['mlflow'] = recorder
    metrics = {'refcoco+/val/Acc@0.5': 71.5, 'refcoco+/val/mIoU': 60.0, 'a%': 1.0, 'loss': 2.0}
    visualizer.add_scalars(dict(metrics), step=3)
    visualizer.add_scalar('refcoco/val/Pr@0.9', 5.0, step=3)
    assert recorder.given == {
        'refcoco_plus/val/Acc_at_0.5': 71.5,
        'refcoco_plus/val/mIoU': 60.0,
        'a_x25_': 1.0,
        'loss': 2.0,
        'refcoco/val/Pr_at_0.9': 5.0,
    }
    # MLflow's rule, as its documentation has it: letters, digits, underscores, dashes, periods, spaces, slashes.
    assert all(re.fullmatch(r'[\w\-. /]+', name) for name in recorder.given)
    lines = [json.loads(line) for line in next(tmp_path.rglob('scalars.json')).read_text().splitlines()]
    assert lines[0] == dict(metrics, step=3) and lines[1] == {'refcoco/val/Pr@0.9': 5.0, 'step': 3}
    visualizer.add_image('toy_val_1', image(), step=3)
    assert 'toy_val_1_3.png' in recorder.given  # MLflow takes the kind of picture from the name
