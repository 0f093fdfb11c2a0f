import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from PIL import Image

from mmuniqrnet.datasets.transforms import PackReferInputs
from mmuniqrnet.models import ReferDataPreprocessor

pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')

H, W = 60, 100
BOX = [20.0, 10.0, 60.0, 40.0]
INSTANCES = [dict(bbox=BOX, bbox_label=0, ignore_flag=0, mask=[[20.0, 10.0, 60.0, 10.0, 60.0, 40.0, 20.0, 40.0]])]
LOAD = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')


@pytest.fixture
def photo(tmp_path):
    """A white rectangle at BOX on black, as a file."""
    pixels = np.zeros((H, W, 3), np.uint8)
    pixels[10:40, 20:60] = 255
    path = tmp_path / 'photo.png'
    Image.fromarray(pixels).save(path)
    return path


def run(path, *transforms, **changes):
    item = (
        dict(
            img_path=str(path),
            img_id=3,
            sent_id=5,
            ref_id=6,
            text='the left cup',
            dataset='refcoco',
            split='val',
            instances=INSTANCES,
            sample_idx=0,
        )
        | changes
    )
    return Compose([LOAD, dict(type='LoadReferAnnotations'), *transforms, dict(type='PackReferInputs')])(item)


def test_the_expression_and_the_truth_are_kept(photo):
    sample = run(photo)['data_samples']
    assert sample.text == 'the left cup' and sample.instances == INSTANCES
    assert (sample.img_id, sample.sent_id, sample.ref_id, sample.dataset, sample.split) == (3, 5, 6, 'refcoco', 'val')
    assert (sample.has_box, sample.has_mask) == (True, True) and sample.ori_shape == sample.img_shape == (H, W)


@pytest.mark.parametrize('scale, size', [((50, 50), (30, 50)), ((150, 150), (90, 150)), ((64, 64), (38, 64))])
def test_resize_flip_and_placing_keep_box_mask_and_image_together(photo, scale, size):
    torch.manual_seed(0)
    packed = run(
        photo, dict(type='mmdet.Resize', scale=scale, keep_ratio=True), dict(type='RandomFlipWithText', prob=1.0)
    )
    preprocessor = ReferDataPreprocessor(160, mean=(0, 0, 0), std=(255, 255, 255))
    data = preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), training=True)
    sample, image = data['data_samples'][0], data['inputs'][0, 0]
    assert sample.img_shape == size and sample.text == 'the right cup'
    rows, columns = torch.where(image > 0.5)
    seen = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert (sample.gt_instances.bboxes[0] - seen).abs().max() < 1
    # OpenCV's nearest neighbour, with which mmdet resizes masks, is up to a pixel off.
    x1, y1, x2, y2 = seen.tolist()
    mask = sample.gt_instances.masks.to_ndarray()[0]
    assert mask[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].all() and mask.sum() == mask[y1 - 1 : y2 + 1, x1 - 1 : x2 + 1].sum()
    assert sample.instances == INSTANCES  # original pixels, for the metric


def test_the_test_pipeline_needs_no_annotations(photo):
    item = dict(img_path=str(photo), text='the left cup', instances=INSTANCES)
    packed = Compose([LOAD, dict(type='mmdet.Resize', scale=(50, 50), keep_ratio=True), dict(type='PackReferInputs')])(
        item
    )
    assert packed['inputs'].shape == (3, 30, 50) and packed['inputs'].dtype == torch.uint8
    assert packed['data_samples'].instances == INSTANCES and len(packed['data_samples'].gt_instances) == 0


def test_a_turned_photo_is_read_as_stored(tmp_path):
    """Annotations refer to the stored pixels; by default OpenCV turns the photo by its EXIF tag."""
    y, x = np.mgrid[:64, :96]
    stored = np.stack([x * 2, y * 3, x + y], axis=-1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    path = tmp_path / 'turned.jpg'
    Image.fromarray(stored).save(path, exif=exif, quality=98, subsampling=0)
    packed = run(path, instances=[dict(bbox=[0.0, 0.0, 4.0, 4.0])])
    assert packed['data_samples'].ori_shape == (64, 96)
    read = packed['inputs'].permute(1, 2, 0).numpy()[..., ::-1].astype(int)  # BGR to RGB
    assert np.abs(read - stored).mean() < 3
    turned = Compose([dict(type='LoadImageFromFile')])(dict(img_path=str(path)))
    assert turned['ori_shape'] == (96, 64)  # what the argument is for


def test_extra_keys_are_kept_too(photo):
    pack = PackReferInputs(extra_keys=['ann_id'])
    sample = pack(dict(img=np.zeros((4, 4, 3), np.uint8), text='x', ann_id=9, sent_id=1))['data_samples']
    assert sample.ann_id == 9 and sample.sent_id == 1


@pytest.mark.parametrize('text', ['', '  ', None, 'absent'])
def test_an_expression_that_is_empty_is_refused(text):
    item = dict(img=np.zeros((4, 4, 3), np.uint8), img_path='a.jpg', sent_id=12) | (
        {} if text == 'absent' else dict(text=text)
    )
    with pytest.raises(ValueError, match=r"a.jpg \(sent_id 12\) has an empty expression; give it a 'text'"):
        PackReferInputs()(item)


@pytest.mark.parametrize('ignored', [[0, 0], [0, 1], [1, 1]])
def test_ignored_objects_are_kept_apart(ignored):
    boxes = np.array([[0, 0, 4, 4], [2, 2, 6, 6]], np.float32)
    item = dict(img=np.zeros((8, 8, 3), np.uint8), text='all', gt_bboxes_labels=boxes[:, 0])
    item['gt_ignore_flags'] = np.array(ignored, dtype=bool)
    sample = PackReferInputs()(dict(item))['data_samples']
    expected = [float(box[0]) for box, flag in zip(boxes, ignored) if not flag]
    assert sample.gt_instances.labels.tolist() == expected
    assert len(sample.ignored_instances) == sum(ignored) and 'gt_ignore_flags' in item
