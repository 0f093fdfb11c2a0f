import cv2
import numpy as np
import pytest
import torch
from mmdet.models.backbones import SwinTransformer
from mmdet.structures import DetDataSample

from mmuniqrnet.models import QRNetSwin, QueryAwareFusion
from mmuniqrnet.structures import Placement, SentenceConditioned, call_with_sentence

# A landscape and a portrait photo at three places on a canvas, and one canvas that is not square.
PLACEMENTS = [
    Placement((120, 200), (48, 80), (96, 96), (0, 0)),
    Placement((120, 200), (48, 80), (96, 96), (24, 8)),
    Placement((333, 101), (96, 29), (96, 96), (0, 41)),
    Placement((50, 40), (50, 40), (64, 96), (14, 56)),
    Placement((60, 80), (60, 80), (60, 80)),
]
PLACES = pytest.mark.parametrize('placement', PLACEMENTS)


@PLACES
def test_boxes_go_to_the_canvas_and_back(placement):
    height, width = placement.ori_shape
    boxes = torch.tensor([[0.0, 0.0, width, height], [1.25, 2.5, 17.75, 30.0]], dtype=torch.float64)
    canvas = placement.boxes_to_canvas(boxes)
    assert torch.allclose(placement.boxes_to_original(canvas), boxes, atol=1e-9)
    top, left = placement.offset
    whole = [left, top, left + placement.img_shape[1], top + placement.img_shape[0]]
    assert torch.allclose(canvas[0], torch.tensor(whole, dtype=torch.float64))


def test_a_box_by_hand():
    placement = Placement(ori_shape=(100, 200), img_shape=(50, 80), canvas_shape=(96, 96), offset=(20, 10))
    assert placement.boxes_to_canvas(torch.tensor([[100.0, 40.0, 200.0, 100.0]])).tolist() == [[50.0, 40.0, 90.0, 70.0]]
    assert placement.boxes_to_original(torch.tensor([[50.0, 40.0, 90.0, 70.0]])).tolist() == [
        [100.0, 40.0, 200.0, 100.0]
    ]


@PLACES
def test_boxes_are_clamped_to_the_image_not_to_the_canvas(placement):
    height, width = placement.ori_shape
    boxes = placement.boxes_to_original(
        torch.tensor([[-5.0, -5.0, 1e3, 1e3], [0.0, 0.0, *placement.canvas_shape[::-1]]])
    )
    assert torch.equal(boxes, torch.tensor([[0.0, 0.0, width, height]]).expand(2, -1))


@PLACES
def test_a_map_of_the_canvas_gives_back_the_image(placement):
    """Against OpenCV: a smooth picture, resized and pasted, then un-pasted and resized."""
    (height, width), (h, w), (top, left) = placement.ori_shape, placement.img_shape, placement.offset
    y, x = np.mgrid[:height, :width]
    picture = np.sin(x / width * 3).astype(np.float32) + (y / height).astype(np.float32)
    canvas = np.full(placement.canvas_shape, 77.0, np.float32)
    canvas[top : top + h, left : left + w] = cv2.resize(picture, (w, h), interpolation=cv2.INTER_LINEAR)
    back = placement.map_to_original(torch.from_numpy(canvas)[None])[0].numpy()
    expected = cv2.resize(canvas[top : top + h, left : left + w], (width, height), interpolation=cv2.INTER_LINEAR)
    assert back.shape == (height, width)
    assert np.allclose(back, expected, atol=1e-4) and np.abs(back - picture).max() < 0.06  # no 77 from the padding


@pytest.mark.parametrize('stride', [2, 4])
def test_a_coarse_map_is_brought_to_canvas_size_first(stride):
    placement = Placement((120, 200), (48, 80), (96, 96), (24, 8))
    coarse = np.random.default_rng(0).normal(size=(96 // stride, 96 // stride)).astype(np.float32)
    canvas = cv2.resize(coarse, (96, 96), interpolation=cv2.INTER_LINEAR)
    expected = cv2.resize(canvas[24:72, 8:88], (200, 120), interpolation=cv2.INTER_LINEAR)
    assert np.allclose(placement.map_to_original(torch.from_numpy(coarse)[None])[0].numpy(), expected, atol=1e-4)


@PLACES
def test_a_rectangle_and_its_mask_go_together(placement):
    """A box on the canvas and the same box as a mask come out at the same place of the original."""
    top, left = placement.offset
    x1, y1, x2, y2 = left + 4, top + 8, left + 20, top + 32
    mask = torch.full((1, *placement.canvas_shape), -10.0)
    mask[:, y1:y2, x1:x2] = 10
    box = placement.boxes_to_original(torch.tensor([[x1, y1, x2, y2]], dtype=torch.float32))[0]
    rows, columns = torch.where(placement.map_to_original(mask)[0] > 0)
    found = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert (found - box).abs().max() <= max(o / i for o, i in zip(placement.ori_shape, placement.img_shape)) / 2 + 0.5


@PLACES
def test_padding_mask(placement):
    mask = placement.padding_mask()
    assert mask.shape == placement.canvas_shape and (~mask).sum() == placement.img_shape[0] * placement.img_shape[1]
    rows, columns = torch.where(~mask)
    assert (rows.min().item(), columns.min().item()) == placement.offset


def test_it_is_read_off_a_data_sample():
    sample = DetDataSample(
        metainfo=dict(ori_shape=(120, 200, 3), img_shape=(48, 80), batch_input_shape=(96, 96), canvas_offset=(24, 8))
    )
    assert Placement.of(sample) == PLACEMENTS[1]
    plain = DetDataSample(metainfo=dict(img_shape=(60, 80), batch_input_shape=(60, 80)))
    assert Placement.of(plain) == PLACEMENTS[4]


def test_only_parts_that_take_a_sentence_are_given_one():
    received = []

    class Plain(torch.nn.Module):
        def forward(self, *args):
            received.append(args)

    class Conditioned(Plain):
        takes_sentence = True

    call_with_sentence(Plain(), 1, 2)
    call_with_sentence(Conditioned(), 1, 2)
    assert received == [(1,), (1, 2)]


def test_our_parts_say_that_they_take_a_sentence():
    tiny = dict(embed_dims=4, depths=(1,), num_heads=(1,), strides=(4,), out_indices=(0,))
    assert isinstance(QRNetSwin(text_dim=4, **tiny), SentenceConditioned)
    assert isinstance(QueryAwareFusion(in_channels=(4,), out_channels=4, text_dim=4), SentenceConditioned)
    assert not isinstance(SwinTransformer(**tiny), SentenceConditioned)
