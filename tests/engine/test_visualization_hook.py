import json
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from helpers.two_ranks import run_two_ranks
from mmdet.engine.hooks.utils import trigger_visualization_hook
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.dataset import ConcatDataset, DefaultSampler
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmuniqrnet import registry  # noqa: F401
from mmuniqrnet.datasets import ReferJsonlDataset
from mmuniqrnet.engine.hooks.visualization import ReferringVisualizationHook, evenly_spread
from mmuniqrnet.structures.answers import Answer
from mmuniqrnet.visualization import draw_answer

PER_IMAGE, IMAGES = 5, 4
PIPELINE = [dict(type='LoadImageFromFile', color_type='color_ignore_orientation'), dict(type='PackReferInputs')]
BOX = [4.0, 6.0, 30.0, 20.0]


class Network(BaseModel):
    """Answers every expression with the same box; the loss is there to be trained."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            return dict(loss=self.weight.sum())
        for sample in data_samples:
            sample.pred_instances = InstanceData(bboxes=torch.tensor([BOX]), scores=torch.tensor([0.5]))
        return data_samples


@pytest.fixture
def data(tmp_path):
    """Four images with five expressions each; the first image is stored turned, as a phone does."""
    lines = []
    for number in range(IMAGES):
        exif = Image.Exif()
        exif[0x0112] = 6
        picture = Image.fromarray(np.random.default_rng(number).integers(0, 256, (24, 40, 3), dtype=np.uint8))
        picture.save(tmp_path / f'{number}.jpg', exif=exif if number == 0 else Image.Exif())
        expressions = [f'thing {number} {n} / größer?' for n in range(PER_IMAGE)]
        lines.append(json.dumps(dict(image=f'{number}.jpg', expressions=expressions, bbox=[2, 3, 20, 20])))
    (tmp_path / 'data.jsonl').write_text('\n'.join(lines))
    return tmp_path


def runner_of(data, work_dir, seed=0, **hook):
    dataset = dict(
        type='ReferJsonlDataset',
        ann_file=str(data / 'data.jsonl'),
        data_prefix=dict(img_path=str(data)),
        split='val',
        dataset_name='toy',
        pipeline=PIPELINE,
    )
    loader = dict(
        batch_size=3,
        num_workers=0,
        dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='pseudo_collate'),
    )
    metric = dict(type='ReferringMetric')
    Visualizer._instance_dict.clear()  # mmengine keeps visualizers by name over all runs of a process
    return Runner(
        model=Network(),
        work_dir=str(work_dir),
        experiment_name=f'{data.name}_{work_dir.name}',
        train_dataloader=loader,
        val_dataloader=loader,
        test_dataloader=loader,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=4, val_interval=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_cfg=dict(),
        test_cfg=dict(),
        val_evaluator=metric,
        test_evaluator=metric,
        default_hooks=dict(
            checkpoint=None,
            logger=dict(type='LoggerHook', interval=100),
            visualization=dict(type='ReferringVisualizationHook', **hook),
        ),
        visualizer=dict(
            type='ReferringVisualizer',
            name=f'vis_{data.name}_{work_dir.name}',
            vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
        ),
        default_scope='mmuniqrnet',
        randomness=dict(seed=seed),
        log_level='ERROR',
    )


@pytest.fixture(autouse=True)
def restore_scope():
    yield
    DefaultScope._instance_dict.pop('mmuniqrnet', None)


def tensorboard_images(folder):
    events = list(folder.glob('*/vis_data/events*'))
    if not events:  # the backend begins its file when it is first given something
        return {}
    found = EventAccumulator(str(events[0]), size_guidance=dict(images=0))
    found.Reload()
    return {tag: [image.step for image in found.Images(tag)] for tag in found.Tags()['images']}


def test_every_validation_draws_the_same_examples(data, tmp_path):
    runner_of(data, tmp_path / 'one', val_examples=4).train()
    drawn = tensorboard_images(tmp_path / 'one')
    # 20 expressions, five each of four images: the middles of the four quarters, whatever the loader's order
    assert sorted(drawn) == [f'toy_val_{n}_2_thing_{n - 1}_2_größer' for n in (1, 2, 3, 4)]
    assert all(steps == [2, 4] for steps in drawn.values())
    files = sorted(path.name for path in (tmp_path / 'one').glob('*/vis_data/vis_image/*'))
    assert len(files) == 8 and files[0] == 'toy_val_1_2_thing_0_2_größer_2.png'

    runner_of(data, tmp_path / 'two', seed=1, val_examples=4).train()
    assert tensorboard_images(tmp_path / 'two') == drawn


def test_no_example_is_wanted(data, tmp_path):
    runner_of(data, tmp_path / 'none', val_examples=0).train()
    assert tensorboard_images(tmp_path / 'none') == {}


def test_pictures_of_testing_are_one_file_an_expression(data, tmp_path):
    out = tmp_path / 'pictures'
    runner_of(data, tmp_path / 'run', draw=True, test_out_dir=str(out), test_examples=None).test()
    names = {f'toy_val_{line}_{n}.png' for line in (1, 2, 3, 4) for n in range(PER_IMAGE)}
    assert {path.name for path in out.iterdir()} == names | {'pictures.md'}
    index = (out / 'pictures.md').read_text(encoding='utf-8')
    assert set(re.findall(r'\((.*?\.png)\)', index)) == names
    assert '[toy_val_2_3.png](toy_val_2_3.png): "thing 1 3 / größer?" (sent_id 2_3, ' in index
    assert not list((tmp_path / 'run').glob('*/vis_data/vis_image/*'))

    # the picture is of the stored pixels, whatever the EXIF of the first image says, and not in BGR
    stored = np.asarray(Image.open(data / '0.jpg'))
    expected = draw_answer(stored, 'thing 0 1 / größer?', Answer([[2.0, 3.0, 20.0, 20.0]]), Answer([BOX], None, 0.5))
    picture = cv2.imread(str(out / 'toy_val_1_1.png'))[..., ::-1].astype(int)
    assert np.abs(picture - expected).max() <= 3  # two JPEG decoders

    runner_of(data, tmp_path / 'again', draw=True, test_out_dir=str(out), test_examples=2).test()
    assert {path.name for path in out.iterdir()} == {'toy_val_2_0.png', 'toy_val_4_0.png', 'pictures.md'}


def test_testing_draws_nothing_unless_asked_and_to_the_backends_without_a_folder(data, tmp_path):
    runner_of(data, tmp_path / 'off').test()
    assert tensorboard_images(tmp_path / 'off') == {}
    runner_of(data, tmp_path / 'on', draw=True, test_examples=3).test()
    assert sorted(tensorboard_images(tmp_path / 'on')) == ['toy_val_1_3', 'toy_val_3_0', 'toy_val_4_1']


def test_a_folder_of_the_users_is_not_touched(data, tmp_path):
    with pytest.raises(FileExistsError, match=r'is not empty and has no pictures\.md'):
        runner_of(data, tmp_path / 'run', test_out_dir=str(data)).test()
    assert len(list(data.glob('*.png'))) == 0


def test_mmdets_trigger_sets_what_the_hook_takes():
    args = SimpleNamespace(show=True, wait_time=3.0, show_dir='pictures')
    cfg = ConfigDict(default_hooks=dict(visualization=dict(type='ReferringVisualizationHook')))
    settings = dict(trigger_visualization_hook(cfg, args).default_hooks.visualization)
    settings.pop('type')
    hook = ReferringVisualizationHook(**settings)
    assert hook.draw and hook.show and hook.wait_time == 3.0 and hook.test_out_dir == 'pictures'


def test_examples_are_spread_evenly():
    assert evenly_spread(100, 4) == [12, 37, 62, 87]
    assert evenly_spread(3, 8) == [0, 1, 2]
    for total, count in ((37256, 50), (51, 50), (1, 1), (0, 3)):
        places = evenly_spread(total, count)
        assert len(set(places)) == min(total, count) and all(0 <= place < total for place in places)


def test_items_without_an_identity_are_refused():
    hook = ReferringVisualizationHook()
    with pytest.raises(ValueError, match='has no dataset, sent_id, which identify it'):
        hook._choose(SimpleItems([dict(split='val', img_path='a.png')]), 1)
    with pytest.raises(ValueError, match='val_examples must be at least 0, or -1 for all, not -2'):
        ReferringVisualizationHook(val_examples=-2)


def test_examples_are_chosen_without_reading_masks(tmp_path):
    Image.new('RGB', (8, 6)).save(tmp_path / 'a.png')
    Image.new('L', (8, 6), 255).save(tmp_path / 'mask.png')
    line = dict(image='a.png', expressions=['a', 'b', 'c'], bbox=[0, 0, 8, 6], mask='mask.png')
    (tmp_path / 'own.jsonl').write_text(json.dumps(line))
    items = ReferJsonlDataset(str(tmp_path / 'own.jsonl'), data_prefix=dict(img_path=str(tmp_path)), split='val')
    (tmp_path / 'mask.png').unlink()
    wanted = ReferringVisualizationHook()._choose(ConcatDataset([items]), 1)
    assert wanted == {('custom', 'val', '1_1')}


class SimpleItems(list):
    def get_data_info(self, index):
        return self[index]


def run_rank(rank, folder):
    cv2.imwrite(f'{folder}/{rank}.png', np.zeros((20, 20, 3), np.uint8))
    items = SimpleItems(
        dict(dataset='toy', split='val', sent_id=n, text=str(n), img_path=f'{folder}/{rank}.png') for n in range(11)
    )
    drawn = []
    runner = SimpleNamespace(
        iter=0,
        val_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=items)),
        visualizer=SimpleNamespace(add_datasample=lambda name, image, sample, **_: drawn.append(sample.sent_id)),
    )
    hook = ReferringVisualizationHook(val_examples=4)
    for _ in range(2):
        hook.before_val_epoch(runner)
        for index in DefaultSampler(items, shuffle=False):
            hook.after_val_iter(runner, 0, None, [DetDataSample(metainfo=items[index])])
    torch.save(drawn, f'{folder}/drawn{rank}.pt')


@pytest.mark.slow
def test_of_two_ranks_the_first_draws_all_the_examples(tmp_path):
    run_two_ranks(run_rank, tmp_path)
    first, second = (torch.load(tmp_path / f'drawn{rank}.pt') for rank in (0, 1))
    assert len(first) == 8 and first[:4] == first[4:] and len(set(first)) == 4
    assert second == []
