import cv2
import numpy as np
import pytest
import torch
from helpers.paths import ROOT
from helpers.tools import run_dataset_tool
from mmdet.structures import DetDataSample

from mmuniqrnet.analysis import fed_picture
from mmuniqrnet.datasets.refshapes import make_refshapes
from mmuniqrnet.registry import DATASETS, MODELS
from mmuniqrnet.visualization.answer_picture import TRUTH_RGB


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pictures') / 'refshapes'
    make_refshapes(str(folder), num_images=dict(train=3), workers=1)
    return folder


def test_the_picture_is_the_canvas_with_the_truth_on_it(folder):
    pipeline = [
        dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
        dict(type='mmuniqrnet.LoadReferAnnotations'),
        dict(type='mmuniqrnet.RandomFlipWithText', prob=1.0),
        dict(type='mmuniqrnet.PackReferInputs'),
    ]
    dataset = DATASETS.build(dict(type='RefShapesDataset', data_root=str(folder), split='train', pipeline=pipeline))
    preprocessor = MODELS.build(dict(type='ReferDataPreprocessor', canvas_size=400, placement='center'))
    packed = dataset[0]
    stored = packed['inputs'].permute(1, 2, 0).numpy()[..., ::-1]  # BGR, flipped
    data = preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), training=True)
    sample = data['data_samples'][0]
    picture = fed_picture(data['inputs'][0], sample, preprocessor.mean.flatten(), preprocessor.std.flatten())
    canvas = picture[-400:, :400].astype(int)  # the panel stands at the bottom left
    height, width = stored.shape[:2]
    top, left = (400 - height) // 2, (400 - width) // 2
    mask = sample.gt_instances.masks.to_ndarray()[0] > 0
    near = cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    away = ~near[top : top + height, left : left + width]
    assert away.mean() > 0.2 and mask.any()
    shown = canvas[top : top + height, left : left + width]
    assert np.abs(shown - stored)[away].max() <= 1
    # the mean colour around it, which is zero to the network
    assert np.abs(canvas[:10, :10] - [124, 116, 104]).max() <= 1
    # green inside the mask and along its edge
    drawn = np.abs(canvas - np.array(TRUTH_RGB)).max(-1) == 0
    assert drawn.any() and not drawn[~near].any()


def test_tool_draws_and_names_the_expressions(folder, tmp_path, capsys):
    config, out = ROOT / 'configs' / 'uniqrnet_swin-nano_refshapes.py', tmp_path / 'pictures'
    arguments = (config, '--out', out, '--cfg-options', f'train_dataloader.dataset.data_root={folder}')
    assert run_dataset_tool('browse', *arguments, '--number', '4') == 0 and '4 pictures' in capsys.readouterr().out
    index = (out / 'browse.md').read_text()
    pictures = {path.name: path.read_bytes() for path in out.glob('*.png')}
    assert len(pictures) == 4 and all(f'[{name}]' in index for name in pictures)
    # the same seed draws the same, augmentation included, and replaces; another one does not draw the same
    run_dataset_tool('browse', *arguments, '--number', '4')
    assert {path.name: path.read_bytes() for path in out.glob('*.png')} == pictures
    run_dataset_tool('browse', *arguments, '--number', '4', '--seed', '5')
    assert {path.name: path.read_bytes() for path in out.glob('*.png')} != pictures
    assert run_dataset_tool('browse', *arguments, '--number', '0') == 2
    assert "argument --number: '0' is not an integer of at least 1" in capsys.readouterr().err
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'note.txt').write_text('x')
    with pytest.raises(FileExistsError, match='mine is not empty'):
        run_dataset_tool('browse', config, '--out', tmp_path / 'mine', *arguments[3:])


def test_items_without_truth_are_drawn():
    sample = DetDataSample(metainfo=dict(text='the cup'))
    plain = fed_picture(torch.zeros(3, 400, 400), sample, (10, 20, 30), (1, 1, 1))
    assert (plain[-400:, :400] == (10, 20, 30)).all()
