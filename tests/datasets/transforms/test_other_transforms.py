"""Transforms of mmdet, mmcv and mmseg between ours: image, box and mask stay together."""

import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mmuniqrnet.datasets.refshapes import make_refshapes
from mmuniqrnet.registry import DATASETS

LOAD = [dict(type='LoadImageOnce', color_type='color_ignore_orientation'), dict(type='LoadReferAnnotations')]
PACK = [dict(type='PackReferInputs')]
RESIZE = dict(type='ReferResize', scale=(64, 64), keep_ratio=True)
BETWEEN = {
    'ours alone': [],
    'mmdet.PhotoMetricDistortion': [dict(type='mmdet.PhotoMetricDistortion')],
    'mmseg.PhotoMetricDistortion': [dict(type='mmseg.PhotoMetricDistortion')],
    'mmcv.RandomGrayscale': [dict(type='mmcv.RandomGrayscale', prob=1.0)],
    'mmdet.AutoContrast': [dict(type='mmdet.AutoContrast', prob=1.0)],
    'mmdet.Equalize': [dict(type='mmdet.Equalize', prob=1.0)],
    'mmdet.CutOut': [dict(type='mmdet.CutOut', n_holes=1, cutout_shape=(4, 4))],
    'mmdet.YOLOXHSVRandomAug': [dict(type='mmdet.YOLOXHSVRandomAug')],
    'mmdet.RandAugment': [
        dict(type='mmdet.RandAugment', aug_num=1, aug_space=[[dict(type=f'mmdet.{n}')] for n in ('Color', 'Sharpness')])
    ],
    'mmcv.RandomChoice': [
        dict(
            type='mmcv.RandomChoice',
            transforms=[[dict(type='mmdet.PhotoMetricDistortion')], [dict(type='mmdet.AutoContrast')]],
        )
    ],
    'mmcv.RandomResize': [
        dict(
            type='mmcv.RandomResize',
            scale=(64, 64),
            ratio_range=(0.5, 1.0),
            resize_type='mmdet.Resize',
            keep_ratio=True,
        )
    ],
    'mmcv.RandomChoiceResize': [
        dict(
            type='mmcv.RandomChoiceResize',
            scales=[(48, 48), (64, 64)],
            resize_type='mmdet.Resize',
            keep_ratio=True,
        )
    ],
    'mmdet.Resize': [dict(type='mmdet.Resize', scale=(48, 48), keep_ratio=True)],
    'mmdet.FixScaleResize': [dict(type='mmdet.FixScaleResize', scale=(48, 48), keep_ratio=True)],
    'mmdet.RandomFlip': [dict(type='mmdet.RandomFlip', prob=1.0)],
    'mmdet.Expand': [dict(type='mmdet.Expand', prob=1.0)],
    'mmdet.TranslateX': [dict(type='mmdet.TranslateX', prob=1.0)],
}
IN_PLACE = ('mmdet.CutOut', 'mmdet.YOLOXHSVRandomAug')


@pytest.fixture(scope='module')
def few_shapes(tmp_path_factory) -> str:
    root = str(tmp_path_factory.mktemp('shapes') / 'refshapes')
    make_refshapes(root, num_images=dict(train=4, val=1, testA=1, testB=1), workers=1)
    return root


def farthest(box: list[float], mask: np.ndarray) -> float:
    """The largest distance between an edge of a box and of the box around a mask, in pixels."""
    ys, xs = np.nonzero(mask)
    return max(abs(a - b) for a, b in zip(box, (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)))


@pytest.mark.parametrize('name', BETWEEN)
def test_image_box_and_mask_stay_together(name, few_shapes):
    init_default_scope('mmuniqrnet')
    np.random.seed(0)
    pipeline = [*LOAD, RESIZE, *BETWEEN[name], *PACK]
    data = DATASETS.build(dict(type='RefShapesDataset', data_root=few_shapes, split='train', pipeline=pipeline))
    for i in range(6):
        item = data[i]
        sample, (height, width) = item['data_samples'], item['inputs'].shape[-2:]
        masks = sample.gt_instances.masks
        assert masks.to_ndarray().shape == (1, height, width) and tuple(sample.img_shape[:2]) == (height, width)
        # Boxes are resized exactly, and masks to the nearest pixel, twice where there are two resizes.
        assert farthest(sample.gt_instances.bboxes.tensor[0].tolist(), masks.masks[0]) < 1.5
        assert sample.text and sample.instances[0]['bbox']


@pytest.mark.parametrize('name', IN_PLACE)
def test_what_writes_into_the_image_does_not_change_the_one_that_is_kept(name, few_shapes):
    init_default_scope('mmuniqrnet')
    split = dict(type='RefShapesDataset', data_root=few_shapes, split='train')
    plain = DATASETS.build(split | dict(pipeline=LOAD))[0]['img']
    data = DATASETS.build(split | dict(pipeline=[*LOAD, *BETWEEN[name]]))
    assert (data[0]['img'] != plain).any()
    kept = data.pipeline.transforms[0].transform(dict(img_path=data.get_data_info(0)['img_path']))
    assert np.array_equal(kept['img'], plain)
