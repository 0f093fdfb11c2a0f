import numpy as np
import pytest
import torch
from helpers.tiny_model import batch_of, item, rectangle
from mmdet.structures.bbox import HorizontalBoxes

from mmuniqrnet.models import ReferDataPreprocessor
from mmuniqrnet.structures import Placement

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
BOX, MASK = [8.0, 4.0, 24.0, 20.0], rectangle(48, 64, 8, 4, 24, 20)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('placement', ['random', 'center', 'corner'])
def test_the_image_is_found_again_at_its_place_and_all_else_is_zero(placement, training):
    torch.manual_seed(0)
    items = [item(48, 64, seed=1), item(33, 17, seed=2), item(80, 80, seed=3)]
    out = ReferDataPreprocessor(80, placement=placement, test_placement=placement)(batch_of(items), training=training)
    assert out['inputs'].shape == (3, 3, 80, 80) and out['inputs'].dtype == torch.float32
    for canvas, sample, given in zip(out['inputs'], out['data_samples'], items):
        (top, left), (h, w) = sample.canvas_offset, sample.img_shape
        for channel in range(3):
            pixels = canvas[channel, top : top + h, left : left + w] * STD[channel] + MEAN[channel]
            # The item is BGR, as OpenCV reads; the network sees RGB.
            assert torch.allclose(pixels, given['inputs'][2 - channel].float(), atol=1e-3)
        assert not canvas[:, Placement.of(sample).padding_mask()].any()
        assert sample.batch_input_shape == (80, 80)


def test_rgb_images_stay_as_they_are():
    given = item(8, 8)
    out = ReferDataPreprocessor(8, mean=(0, 0, 0), std=(1, 1, 1), bgr_to_rgb=False)(batch_of([given]))
    assert torch.equal(out['inputs'][0], given['inputs'].float())


def test_places():

    def offsets(training, **kwargs):
        preprocessor = ReferDataPreprocessor((80, 96), **kwargs)
        items = [item(48, 64) for _ in range(200)]
        return {s.canvas_offset for s in preprocessor(batch_of(items), training=training)['data_samples']}

    assert offsets(False) == {(16, 16)} == offsets(True, placement='center')
    assert offsets(False, test_placement='corner') == {(0, 0)}
    torch.manual_seed(0)
    tops, lefts = (set(n) for n in zip(*offsets(True)))
    assert min(tops) == min(lefts) == 0 and max(tops) == max(lefts) == 32 and len(tops) > 25


@pytest.mark.parametrize('placement', ['random', 'center', 'corner'])
def test_the_truth_moves_along(placement):
    torch.manual_seed(1)
    given = item(48, 64, boxes=[BOX], masks=[MASK])
    given['inputs'] = torch.from_numpy(MASK).expand(3, -1, -1) * 255  # the object is white, the rest black
    preprocessor = ReferDataPreprocessor(80, placement=placement, mean=(0, 0, 0), std=(255, 255, 255))
    out = preprocessor(batch_of([given]), training=True)
    truth = out['data_samples'][0].gt_instances
    assert np.array_equal(truth.masks.to_ndarray()[0], out['inputs'][0, 0].numpy())
    rows, columns = torch.where(out['inputs'][0, 0] > 0)
    assert truth.bboxes.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    assert torch.equal(truth.bboxes, Placement.of(out['data_samples'][0]).boxes_to_canvas(torch.tensor([BOX])))


def test_the_given_items_are_not_changed():
    given = item(48, 64, boxes=[BOX], masks=[MASK])
    before = given['inputs'].clone()
    preprocessor = ReferDataPreprocessor(80, placement='center')
    first = preprocessor(batch_of([given]), training=True)
    again = preprocessor(batch_of([given]), training=True)
    assert torch.equal(given['inputs'], before) and given['data_samples'].gt_instances.bboxes.tolist() == [BOX]
    assert torch.equal(first['data_samples'][0].gt_instances.bboxes, again['data_samples'][0].gt_instances.bboxes)


def test_no_object_and_box_types():
    empty = item(48, 64, boxes=[], masks=np.zeros((0, 48, 64)))
    typed = item(48, 64, boxes=[BOX])
    typed['data_samples'].gt_instances.bboxes = HorizontalBoxes(torch.tensor([BOX]))
    samples = ReferDataPreprocessor(80, placement='center')(batch_of([empty, typed]), training=True)['data_samples']
    assert samples[0].gt_instances.masks.to_ndarray().shape == (0, 80, 80)
    assert type(samples[1].gt_instances.bboxes) is torch.Tensor
    assert samples[1].gt_instances.bboxes.tolist() == [[16.0, 20.0, 32.0, 36.0]]


def test_images_without_samples_are_placed_too():
    out = ReferDataPreprocessor(80)(dict(inputs=[item(48, 64)['inputs']]))
    assert out['data_samples'][0].canvas_offset == (16, 8)


def test_images_that_are_the_same_are_kept_once():
    torch.manual_seed(3)
    boxes = [[0.0, 0.0, 9.0, 9.0], [1.0, 2.0, 9.0, 9.0], [3.0, 2.0, 9.0, 9.0], [4.0, 4.0, 9.0, 9.0]]
    seeds = (1, 2, 1, 1)
    items = [item(48, 64, seed=seed, boxes=[box], img_path=f'{seed}') for seed, box in zip(seeds, boxes)]
    preprocessor = ReferDataPreprocessor(80, share_images=True)
    assert len({preprocessor(batch_of(items), True)['data_samples'][0].canvas_offset for _ in range(9)}) > 5
    out = preprocessor(batch_of(items), training=True)
    samples = out['data_samples']
    assert out['inputs'].shape == (2, 3, 80, 80) and [s.image_row for s in samples] == [0, 1, 0, 0]
    assert samples[0].canvas_offset == samples[2].canvas_offset == samples[3].canvas_offset
    apart = ReferDataPreprocessor(80, placement='corner')(batch_of(items))
    for sample, given, box in zip(samples, items, boxes):
        top, left = sample.canvas_offset
        canvas = out['inputs'][sample.image_row, :, top : top + 48, left : left + 64]
        assert torch.equal(canvas, ReferDataPreprocessor((48, 64))(batch_of([given]))['inputs'][0])
        assert (sample.gt_instances.bboxes - torch.tensor([box])).tolist() == [[left, top, left, top]]
    assert apart['inputs'].shape[0] == 4 and 'image_row' not in apart['data_samples'][0]


def test_an_image_that_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r'image of 48 x 64 \(height x width\) does not fit the canvas of 64 x 60; resize'
    ):
        ReferDataPreprocessor((64, 60))(batch_of([item(48, 64)]))


def test_an_unknown_placement_is_refused():
    with pytest.raises(ValueError, match="placement is 'random', 'center' or 'corner', not 'middle'"):
        ReferDataPreprocessor(test_placement='middle')
