"""The recipe of UniQRNet's own configs in real runs, in small, and that QRNet's is as published."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from helpers.config_samples import make_data, reduce
from helpers.paths import ROOT
from helpers.poisoned import make_runner, poisoned
from helpers.two_ranks import run_two_ranks
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner
from torch import nn

from mmuniqrnet.config import load_config
from mmuniqrnet.export.publish import publish

FLAGSHIP, MIXED, QRNET = (
    str(ROOT / 'configs' / f'{name}.py')
    for name in ('uniqrnet_swin-b_refcoco', 'uniqrnet_swin-b_mixed', 'qrnet_swin-s_refcoco')
)


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return make_data(tmp_path_factory.mktemp('data'))


def small(path: str, data: Path, work_dir: Path, epochs: int = 2, options: dict | None = None) -> Config:
    """A full-size config, narrow, on a miniature of its data: two steps an epoch, validated after each."""
    cfg = reduce(load_config(path, options), data)
    cfg.work_dir, cfg.experiment_name = str(work_dir), work_dir.name
    cfg.train_dataloader.batch_size = 8
    cfg.train_cfg.update(max_epochs=epochs, val_interval=1)
    cfg.param_scheduler[1].update(end=2, T_max=1)
    cfg.default_hooks.logger.interval = 1
    cfg.visualizer.update(vis_backends=[dict(type='LocalVisBackend')], name=str(work_dir))
    return cfg


def train(cfg: Config) -> Runner:
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def read(path: Path) -> dict:
    return torch.load(path, weights_only=False, map_location='cpu')


def differ(first: dict, second: dict) -> bool:
    return any(not torch.equal(value, second[name]) for name, value in first.items())


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory) -> Path:
    """The flagship's recipe, whole: a folder with two epochs of it."""
    work_dir = tmp_path_factory.mktemp('runs') / 'flagship'
    cfg = small(FLAGSHIP, data, work_dir, options={'randomness.seed': 1})
    assert 'LossBalanceHook' in [hook.type for hook in cfg.custom_hooks]
    train(cfg)
    return work_dir


def test_both_best_checkpoints_are_saved_with_the_averaged_weights(trained):
    names = {path.name.rpartition('_epoch_')[0] for path in trained.glob('best_*.pth')}
    assert names == {'best_refcoco_val_mIoU', 'best_refcoco_val_Acc@0.5'}
    last = read(trained / 'epoch_2.pth')
    assert differ(last['state_dict'], {k.removeprefix('module.'): v for k, v in last['ema_state_dict'].items()})


def test_test_and_publishing_take_the_averaged_weights(trained, data, tmp_path):
    checkpoint = trained / 'epoch_2.pth'
    averaged = read(checkpoint)['state_dict']
    cfg = small(FLAGSHIP, data, tmp_path / 'test')
    cfg.load_from = str(checkpoint)
    runner = Runner.from_cfg(cfg)
    seen = {}
    predict = runner.model.predict

    def look(*args, **kwargs):
        seen.update({name: value.clone() for name, value in runner.model.state_dict().items()})
        return predict(*args, **kwargs)

    runner.model.predict = look
    assert 'refcoco/testA/mIoU' in runner.test()
    assert not differ(averaged, seen)
    assert publish(checkpoint, tmp_path / 'a.safetensors')['weights'] == 'averaged over the training (EMA)'


@pytest.mark.slow
def test_resuming_goes_on_as_if_not_interrupted(data, tmp_path):
    """With averaged weights, balance, warm-up and both best checkpoints: bit by bit."""
    whole = small(FLAGSHIP, data, tmp_path / 'whole', options={'randomness.seed': 1})
    # Nothing is drawn at random but the first weights.
    whole.model.text_encoder.model.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    whole.model.backbone.drop_path_rate = whole.model.head.encoder.dropout = 0.0
    whole.model.data_preprocessor.placement = 'corner'
    whole.train_dataloader.sampler.shuffle = False
    loading, rest = whole.train_dataloader.dataset.pipeline[:2], whole.test_dataloader.dataset.pipeline
    whole.train_dataloader.dataset.pipeline = loading + [step for step in rest if 'Load' not in step.type]
    part = deepcopy(whole)
    part.update(work_dir=str(tmp_path / 'part'), experiment_name='part')
    part.visualizer.name = 'part'
    train(whole)
    part.train_cfg.max_epochs = 1
    train(part)
    part.train_cfg.max_epochs = 2
    part.update(resume=True, load_from=str(tmp_path / 'part' / 'epoch_1.pth'), experiment_name='rest')
    part.visualizer.name = 'rest'
    train(part)
    straight, resumed = (read(tmp_path / name / 'epoch_2.pth') for name in ('whole', 'part'))
    for part_of in ('state_dict', 'ema_state_dict'):
        assert not differ(straight[part_of], resumed[part_of]), part_of
    assert straight['loss_balance']['weights'] == resumed['loss_balance']['weights']
    for metric in ('mIoU', 'Acc@0.5'):  # one of each: the one of before is removed
        assert len(list((tmp_path / 'part').glob(f'best_refcoco_val_{metric}_*.pth'))) == 1


def test_each_part_of_the_recipe_is_switched_off_by_one_option(data, tmp_path):
    options = {
        'default_hooks.ema': None,
        'default_hooks.check_loss': None,
        'default_hooks.matmul_precision': None,
        'optim_wrapper.clip_grad': None,
        'optim_wrapper.type': 'OptimWrapper',
        'env_cfg.cudnn_benchmark': False,
        'randomness.diff_rank_seed': False,
    }
    runner = train(small(FLAGSHIP, data, tmp_path / 'run', epochs=1, options=options))
    names = {type(hook).__name__ for hook in runner.hooks}
    assert not names & {'EMAHook', 'CheckLossHook', 'MatmulPrecisionHook'}
    assert 'ema_state_dict' not in read(tmp_path / 'run' / 'epoch_1.pth')


def test_mixed_training_is_chosen_by_the_mean_over_its_sets(data, tmp_path):
    runner = train(small(MIXED, data, tmp_path / 'run', epochs=1))
    names = {path.name.rpartition('_epoch_')[0] for path in (tmp_path / 'run').glob('best_*.pth')}
    assert names == {'best_mean_mIoU', 'best_mean_Acc@0.5'}
    metrics = runner.val_loop.run()
    for name in ('mIoU', 'Acc@0.5', 'oIoU'):
        of_sets = [metrics[f'{dataset}/val/{name}'] for dataset in ('refcoco', 'refcoco+', 'refcocog_umd')]
        assert metrics[f'mean/{name}'] == pytest.approx(sum(of_sets) / 3)


def rates(cfg: Config, iterations_an_epoch: int) -> list[float]:
    """The learning rate of each iteration of the whole training, of a part with the full rate."""
    model = nn.Module()
    model.backbone, model.head = nn.Linear(1, 1), nn.Linear(1, 1)
    cfg.optim_wrapper.pop('constructor')  # the rate of a part follows from what was loaded into it
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    schedulers = []
    for one in cfg.param_scheduler:
        one, length = dict(one), iterations_an_epoch
        assert one.pop('convert_to_iter_based')
        cls = PARAM_SCHEDULERS.get(one.pop('type'))
        schedulers.append(cls.build_iter_from_epoch(optimizer=wrapper, **one, epoch_length=length))
    found = []
    for _ in range(cfg.train_cfg.max_epochs * iterations_an_epoch):
        found.append([wrapper.optimizer.param_groups[i]['lr'] for i in (0, -1)])
        wrapper.optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


@pytest.mark.filterwarnings('ignore')
@pytest.mark.usefixtures('mmuniqrnet_scope')
def test_learning_rate_of_every_iteration():
    """A line from a thousandth in the first epoch, then half a cosine to a hundredth, for each rate alike."""
    slow, fast = zip(*rates(Config.fromfile(FLAGSHIP), 10), strict=True)
    assert len(fast) == 600
    assert fast == pytest.approx([10 * rate for rate in slow], rel=1e-6)
    assert fast[0] == pytest.approx(1e-7) and fast[5] == pytest.approx(1e-4 * (0.001 + 0.999 * 5 / 9), rel=1e-6)
    assert fast[10] == pytest.approx(1e-4, rel=1e-3) == max(fast)
    steps = torch.arange(590) / 590
    cosine = 1e-6 + (1e-4 - 1e-6) * (1 + torch.cos(torch.pi * steps)) / 2
    assert fast[10:] == pytest.approx(cosine.tolist(), rel=2e-3)


def test_qrnet_is_trained_as_published():
    cfg = Config.fromfile(QRNET)
    assert cfg.optim_wrapper.to_dict() == dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
        accumulative_counts=1,
        paramwise_cfg=cfg.optim_wrapper.paramwise_cfg.to_dict(),
    )
    assert cfg.param_scheduler == [dict(type='MultiStepLR', by_epoch=True, milestones=[60], gamma=0.1)]
    assert cfg.train_cfg == dict(type='ResumableEpochLoop', max_epochs=180, val_interval=5)
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=128)
    assert not {'ema', 'matmul_precision'} & set(cfg.default_hooks)
    assert cfg.env_cfg.cudnn_benchmark is False and 'randomness' not in cfg
    assert cfg.default_hooks.checkpoint.save_best == 'refcoco/val/Acc@0.5'
    longer = Config.fromfile(ROOT / 'configs/_base_/schedules/180e_drop-120.py')  # RefCOCO+
    assert longer.param_scheduler[0].milestones == [120] and longer.train_cfg == cfg.train_cfg


def seeds_of_rank(rank: int, folder: str) -> None:
    found = {}
    for seed in (None, 5):
        runner = make_runner(
            folder,
            poisoned(),
            rank=0,
            launcher='pytorch',
            cfg=dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None)),
            randomness=dict(Config.fromfile(FLAGSHIP).randomness, seed=seed),
        )
        drawn = torch.rand(4)
        runner.build_train_loop(dict(type='IterBasedTrainLoop', max_iters=1))
        loader = runner.build_dataloader(
            dict(
                dataset=runner._train_dataloader['dataset'],
                batch_size=2,
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='pseudo_collate'),
            ),
            seed=runner.seed,
            diff_rank_seed=runner._randomness_cfg['diff_rank_seed'],
        )
        found[seed] = runner.seed, drawn, loader.sampler.seed, list(loader.sampler)
    torch.save(found, f'{folder}/rank{rank}.pth')


def test_ranks_draw_differently_and_share_the_data(tmp_path):
    run_two_ranks(seeds_of_rank, tmp_path)
    first, second = (torch.load(tmp_path / f'rank{rank}.pth', weights_only=False) for rank in (0, 1))
    for seed in (None, 5):
        (seed_0, drawn_0, sampler_0, indices_0), (seed_1, drawn_1, sampler_1, indices_1) = first[seed], second[seed]
        assert seed_1 == seed_0 + 1 and (seed is None or seed_0 == seed)
        assert not torch.equal(drawn_0, drawn_1)
        assert sampler_0 == sampler_1
        assert sorted(indices_0 + indices_1) == list(range(64))
    assert first[None][0] != first[5][0]
