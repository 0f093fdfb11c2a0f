"""Learning rates that follow from what was loaded, in real runs of mmengine's Runner."""

import uuid
from pathlib import Path

import pytest
import torch
from helpers.checkpoint_samples import detector_state, random_laterals
from helpers.config_samples import narrow
from helpers.paths import ROOT
from helpers.tiny_model import (
    CANVAS,
    CHANNELS,
    DIM,
    backbone_config,
    head_config,
    item,
    neck_config,
    rectangle,
    text_encoder_config,
)
from helpers.two_ranks import run_two_ranks
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmuniqrnet.models.text_encoder import load_tokenizer
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError

pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')

FULL, REDUCED = 1e-3, 1e-4
CUSTOM_KEYS = {
    'backbone': dict(lr_mult=0.1),
    'backbone.gates': dict(lr_mult=1.0),
    'neck.lateral_convs': dict(lr_mult=0.1),
    'text_encoder': dict(lr_mult=0.1),
    'head.pixel_guidance': dict(lr_mult=1.0),
}
# What a parameter's learning rate is asked by, one of each kind.
SWIN = 'backbone.stages.1.blocks.0.ffn.layers.1.weight'
NORM = 'backbone.norm2.weight'
GATE = 'backbone.gates.1.spatial.score.V'
LATERAL = 'neck.lateral_convs.3.conv.bias'
TEXT = 'text_encoder.model.embeddings.word_embeddings.weight'
HEAD = 'head.mask_branch.input_proj.conv.weight'
KINDS = (SWIN, NORM, GATE, LATERAL, TEXT, HEAD)


def model_config(checkpoint: Path | None = None, **changes) -> ConfigDict:
    init_cfg = None if checkpoint is None else dict(type='Pretrained', checkpoint=str(checkpoint))
    return ConfigDict(
        dict(
            type='UniQRNet',
            data_preprocessor=dict(type='ReferDataPreprocessor', canvas_size=CANVAS),
            text_encoder=text_encoder_config(),
            backbone=backbone_config(init_cfg=init_cfg),
            neck=neck_config(),
            head=head_config(),
        )
        | changes
    )


def optim_config(follows: bool = True, custom_keys: dict = CUSTOM_KEYS, wrapper: dict | None = None, **optimizer):
    return (
        dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=FULL, weight_decay=1e-4) | optimizer,
            paramwise_cfg=dict(custom_keys=custom_keys),
        )
        | (dict(constructor='LoadedLrOptimWrapperConstructor') if follows else {})
        | (wrapper or {})
    )


def loader() -> DataLoader:
    items = [
        item(seed=i, boxes=[[8, 8, 40, 40]], masks=[rectangle(48, 64, 8, 8, 40, 40)], text='the red circle')
        for i in range(2)
    ]
    # One epoch is enough for every run here: between two, mmengine sleeps for two seconds.
    return DataLoader(items * 6, batch_size=2, collate_fn=pseudo_collate)


def runner(folder: Path, model: ConfigDict, optim: dict | None = None, iters: int = 1, **options) -> Runner:
    torch.manual_seed(0)
    options.setdefault('custom_hooks', [dict(type='CheckLoadHook'), dict(type='LoadedLrHook')])
    return Runner(
        model=model,
        work_dir=str(folder),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=False, max_iters=iters),
        optim_wrapper=optim or optim_config(),
        default_scope='mmuniqrnet',
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
        experiment_name=uuid.uuid4().hex,
        **options,
    )


def rates(run: Runner) -> dict[str, float]:
    """The learning rate of every parameter that is trained."""
    model = getattr(run.model, 'module', run.model)
    group_of = {id(value): group for group in run.optim_wrapper.optimizer.param_groups for value in group['params']}
    return {name: group_of[id(value)]['lr'] for name, value in model.named_parameters() if id(value) in group_of}


class RecordRates(Hook):
    """Keeps the learning rates of every step."""

    def __init__(self) -> None:
        self.rates: list[dict[str, float]] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        self.rates.append(rates(runner))


def trained(*arguments, **options) -> dict[str, float]:
    run = runner(*arguments, **options)
    run.train()
    return rates(run)


def of_kinds(found: dict[str, float]) -> list[float]:
    return [found[name] for name in KINDS]


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> dict[str, Path]:
    """A classifier, a detector, and a whole model, in files."""
    folder = tmp_path_factory.mktemp('files')
    torch.manual_seed(3)
    swin = MODELS.build(backbone_config(type='mmuniqrnet.QRNetSwin'))
    whole = MODELS.build(
        dict(
            type='mmuniqrnet.UniQRNet',
            text_encoder=text_encoder_config(type='mmuniqrnet.TextEncoder'),
            backbone=backbone_config(type='mmuniqrnet.QRNetSwin'),
            neck=neck_config(type='mmuniqrnet.QueryAwareFusion'),
            head=head_config(type='mmuniqrnet.UniQRNetHead'),
        )
    )
    contents = dict(
        classifier=dict(model={k: v for k, v in swin.state_dict().items() if not k.startswith(('gates.', 'norm'))}),
        detector=dict(state_dict=detector_state(swin, random_laterals(CHANNELS, DIM))),
        whole=dict(state_dict=whole.state_dict()),
        no_neck=dict(state_dict={k: v for k, v in whole.state_dict().items() if not k.startswith('neck.')}),
    )
    for name, content in contents.items():
        torch.save(content, folder / f'{name}.pth')
    text = folder / 'bert'
    load_tokenizer('mmuniqrnet:refshapes').save_pretrained(text)
    whole.text_encoder.model.save_pretrained(text)
    return {name: folder / f'{name}.pth' for name in contents} | dict(text=text)


@pytest.mark.parametrize(
    'init, load_from, text, expected',
    [
        # swin, norm, gate, lateral, text, head
        (None, None, False, [FULL, FULL, FULL, FULL, FULL, FULL]),
        ('classifier', None, False, [REDUCED, FULL, FULL, FULL, FULL, FULL]),
        ('detector', None, False, [REDUCED, REDUCED, FULL, REDUCED, FULL, FULL]),
        ('classifier', None, True, [REDUCED, FULL, FULL, FULL, REDUCED, FULL]),
        (None, 'whole', False, [REDUCED, REDUCED, FULL, REDUCED, REDUCED, FULL]),
        (None, 'no_neck', False, [REDUCED, REDUCED, FULL, FULL, REDUCED, FULL]),
        ('detector', 'no_neck', False, [REDUCED, REDUCED, FULL, REDUCED, REDUCED, FULL]),
    ],
    ids=['nothing', 'classifier', 'detector', 'text', 'load_from', 'load_from without neck', 'both'],
)
def test_rates_follow_from_what_was_loaded(init, load_from, text, expected, files, tmp_path):
    changes = dict(text_encoder=text_encoder_config(model=str(files['text']), tokenizer=None)) if text else {}
    found = trained(
        tmp_path, model_config(init and files[init], **changes), load_from=load_from and str(files[load_from])
    )
    assert of_kinds(found) == pytest.approx(expected, rel=1e-9)
    assert {round(lr, 9) for lr in found.values()} <= {FULL, REDUCED}


def test_without_the_constructor_the_rates_are_the_configs(files, tmp_path):
    found = trained(tmp_path, model_config(files['classifier']), optim_config(follows=False))
    assert of_kinds(found) == pytest.approx([REDUCED, REDUCED, FULL, REDUCED, REDUCED, FULL], rel=1e-9)


def test_qrnets_recipe_does_not_follow(tmp_path):
    """Its rates are the published ones, although nothing is loaded here."""
    cfg = Config.fromfile(ROOT / 'configs' / 'qrnet_swin-s_refcoco.py')
    assert 'constructor' not in cfg.optim_wrapper and cfg.default_hooks.loaded_lr.type == 'LoadedLrHook'
    narrow(cfg.model)
    cfg.model.data_preprocessor.canvas_size = CANVAS
    found = trained(tmp_path, cfg.model, cfg.optim_wrapper, custom_hooks=[dict(type='LoadedLrHook')])
    slow = ('backbone.', 'neck.lateral_convs.', 'text_encoder.')
    for name, lr in found.items():
        reduced = name.startswith(slow) and not name.startswith('backbone.gates.')
        assert lr == pytest.approx(1e-5 if reduced else 1e-4, rel=1e-9), name


def test_our_own_recipe_follows(tmp_path):
    """With its own wrapper, clipping and schedulers; nothing is loaded here, so all of it learns at the full rate."""
    cfg = Config.fromfile(ROOT / 'configs' / 'uniqrnet_swin-s_refcoco.py')
    assert cfg.optim_wrapper.constructor == 'LoadedLrOptimWrapperConstructor'
    narrow(cfg.model)
    cfg.model.data_preprocessor.canvas_size = CANVAS
    run = runner(tmp_path, cfg.model, cfg.optim_wrapper, custom_hooks=[dict(cfg.default_hooks.loaded_lr)])
    run.train()
    full = cfg.optim_wrapper.optimizer.lr
    assert [lr for lr in rates(run).values() if lr != pytest.approx(full, rel=1e-9)] == []


def test_a_backbone_of_mmdet_that_loads_its_file_itself(files, tmp_path):
    """mmdet's Swin reads init_cfg without any function of this package."""
    swin = dict(backbone_config(), type='mmdet.SwinTransformer', convert_weights=False)
    swin = {name: value for name, value in swin.items() if name not in ('text_dim', 'gate_rank', 'gate_reduction')}
    state = torch.load(files['classifier'], weights_only=True)['model']
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in state.items()}), tmp_path / 'mmdet.pth')
    swin['init_cfg'] = dict(type='Pretrained', checkpoint=str(tmp_path / 'mmdet.pth'))
    found = trained(tmp_path / 'run', model_config(backbone=swin, neck=neck_config(gated=False)))
    assert (found[SWIN], found[NORM]) == pytest.approx((REDUCED, FULL), rel=1e-9)


WARM_UP = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=2),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=2, end=6, T_max=4, eta_min_ratio=0.1),
]


@pytest.mark.parametrize(
    'schedule',
    [
        WARM_UP,
        [dict(type='MultiStepLR', by_epoch=False, milestones=[2], gamma=0.1)],
        [dict(type='PolyLR', by_epoch=False, eta_min=0.0, end=6)],
        [dict(type='CosineRestartLR', by_epoch=False, periods=[2, 4], restart_weights=[1, 0.5], eta_min_ratio=0.01)],
        [dict(type='ConstantLR', factor=0.1, by_epoch=False, end=3)],
    ],
    ids=lambda schedule: schedule[-1]['type'],
)
def test_schedules_are_those_of_a_config_with_these_rates(schedule, files, tmp_path):
    """After every step, the rates are as if the config had said them from the start."""
    keys = CUSTOM_KEYS | {'backbone.norm': dict(lr_mult=1.0), 'text_encoder': dict(lr_mult=1.0)}
    keys |= {'neck.lateral_convs': dict(lr_mult=1.0)}
    model, recorded = model_config(files['classifier']), []
    for optim in (optim_config(), optim_config(False, keys)):
        hooks = [dict(type='CheckLoadHook'), dict(type='LoadedLrHook'), RecordRates()]
        run = runner(tmp_path, model, optim, iters=6, param_scheduler=schedule, custom_hooks=hooks)
        run.train()
        recorded.append(hooks[-1].rates)
    ours, by_hand = recorded
    assert len(ours) == len(by_hand) == 6
    for one, other in zip(ours, by_hand):
        assert one == pytest.approx(other, rel=1e-6)


def test_one_cycle_is_refused_because_it_ignores_multipliers(files, tmp_path):
    schedule = [dict(type='OneCycleLR', eta_max=0.01, total_steps=4, by_epoch=False)]
    with pytest.raises(UserError, match='OneCycleLR gives all parameters the same learning rate'):
        trained(tmp_path, model_config(files['classifier']), param_scheduler=schedule)


def test_a_rate_scaled_to_the_batch_size(files, tmp_path):
    scale = dict(enable=True, base_batch_size=8)  # the batches have 2
    found = trained(tmp_path, model_config(files['classifier']), auto_scale_lr=scale, param_scheduler=WARM_UP[1:])
    assert of_kinds(found) == pytest.approx([lr / 4 for lr in (REDUCED, FULL, FULL, FULL, FULL, FULL)], rel=1e-9)


def test_multipliers_by_layer(files, tmp_path):
    """Those of loaded layers are the config's; a random part of the same layer learns at the full rate."""
    keys = {f'backbone.stages.{i}': dict(lr_mult=0.5 ** (4 - i)) for i in range(4)} | {
        'backbone': dict(lr_mult=0.5**5),
        'backbone.gates': dict(lr_mult=1.0),
        'head.box_branch': dict(lr_mult=2.0),  # no reduction
        'head.score_branch': dict(lr_mult=0.0),  # not trained, whatever its start
    }
    found = trained(tmp_path, model_config(files['classifier']), optim_config(custom_keys=keys))
    for i in range(4):
        assert found[f'backbone.stages.{i}.blocks.0.norm1.weight'] == pytest.approx(FULL * 0.5 ** (4 - i), rel=1e-9)
        assert found[f'backbone.norm{i}.weight'] == pytest.approx(FULL, rel=1e-9)
    assert found['backbone.patch_embed.projection.weight'] == pytest.approx(FULL * 0.5**5, rel=1e-9)
    assert {lr for name, lr in found.items() if name.startswith('head.box_branch')} == {2 * FULL}
    assert {lr for name, lr in found.items() if name.startswith('head.score_branch')} == {0.0}
    assert found[GATE] == found[HEAD] == FULL


def test_frozen_stages_and_fused_steps(files, tmp_path):
    """The norms of frozen stages' outputs are frozen in mmdet's Swin, whatever is loaded."""
    model = model_config(files['classifier'])
    model.backbone.frozen_stages = 1
    found = trained(tmp_path, model, optim_config(fused=True), iters=2)
    assert 'backbone.stages.0.blocks.0.norm1.weight' not in found
    assert (found[SWIN], found[NORM], found[LATERAL]) == pytest.approx((REDUCED, FULL, FULL), rel=1e-9)


def test_averaged_weights_are_copied_without_listeners(files, tmp_path):
    hooks = [dict(type='CheckLoadHook'), dict(type='LoadedLrHook'), dict(type='EMAHook')]
    run = runner(tmp_path, model_config(files['detector']), iters=2, custom_hooks=hooks)
    run.train()
    assert of_kinds(rates(run)) == pytest.approx([REDUCED, REDUCED, FULL, REDUCED, FULL, FULL], rel=1e-9)
    [ema] = [hook for hook in run.hooks if type(hook).__name__ == 'EMAHook']
    for model in (run.model, ema.ema_model):
        assert not [name for name, part in model.named_modules() if part._load_state_dict_pre_hooks]


@pytest.mark.parametrize('later', ['same config', 'nothing to load', 'more to load', 'constructor removed'])
def test_a_resumed_training_has_the_rates_that_were_saved(later, files, tmp_path):
    straight = trained(tmp_path / 'straight', model_config(files['classifier']), iters=4, param_scheduler=WARM_UP)
    first = runner(tmp_path / 'job', model_config(files['classifier']), iters=2, param_scheduler=WARM_UP)
    first.train()
    init = {'nothing to load': None, 'more to load': files['detector']}.get(later, files['classifier'])
    second = runner(
        tmp_path / 'job',
        model_config(init),
        optim_config(follows=later != 'constructor removed'),
        iters=4,
        param_scheduler=WARM_UP,
        load_from=str(tmp_path / 'job' / 'iter_2.pth'),
        resume=True,
    )
    second.train()
    assert second.iter == 4 and rates(second) == pytest.approx(straight, rel=1e-9)
    saved = torch.load(tmp_path / 'job' / 'iter_4.pth', weights_only=False)['optimizer']['param_groups']
    assert [group['lr'] for group in saved] == pytest.approx(list(straight.values()), rel=1e-9)


def test_a_training_saved_before_there_was_a_choice_keeps_its_rates(files, tmp_path):
    model = model_config(files['classifier'])
    before = runner(tmp_path, model, optim_config(follows=False), iters=1)
    before.train()
    after = runner(tmp_path, model, iters=2, load_from=str(tmp_path / 'iter_1.pth'), resume=True)
    after.train()
    assert rates(after) == rates(before)


def run_rank(rank: int, folder: str, checkpoint: str) -> None:
    run = runner(
        Path(folder, 'job'),
        model_config(Path(checkpoint)),
        iters=2,
        launcher='pytorch',
        cfg=dict(
            model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None, find_unused_parameters=True)
        ),
    )
    run.train()
    first = {name: value.detach() for name, value in run.model.module.named_parameters()}
    torch.save((type(run.model).__name__, rates(run), first), f'{folder}/rank{rank}.pth')


@pytest.mark.slow
def test_two_ranks_decide_the_same(files, tmp_path):
    run_two_ranks(run_rank, tmp_path, str(files['classifier']))
    (kind, one, weights), (_, other, same) = (torch.load(tmp_path / f'rank{rank}.pth') for rank in (0, 1))
    assert kind == 'MMDistributedDataParallel' and one == other
    assert of_kinds(one) == pytest.approx([REDUCED, FULL, FULL, FULL, FULL, FULL], rel=1e-9)
    assert all(torch.equal(value, same[name]) for name, value in weights.items())


def test_what_was_decided_is_logged_in_one_table(files, tmp_path, caplog):
    run = runner(tmp_path, model_config(files['classifier']), param_scheduler=WARM_UP)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    run.train()
    [text] = [record.getMessage() for record in caplog.records if 'Learning rates of' in record.getMessage()]
    lines = [line.split() for line in text.splitlines()]
    counts = dict.fromkeys(('backbone.stages', 'neck.lateral_convs', 'text_encoder.model'), 0)
    for name, _ in run.model.named_parameters():
        part = '.'.join(name.split('.')[:2])
        if part in counts:
            counts[part] += 1
    assert ['backbone.stages', str(counts['backbone.stages']), 'loaded', '0.0001'] in lines
    assert ['backbone.norm2', '2', 'random', '0.001'] in lines
    assert ['neck.lateral_convs', str(counts['neck.lateral_convs']), 'random', '0.001'] in lines
    assert ['text_encoder.model', str(counts['text_encoder.model']), 'random', '0.001'] in lines
    assert len(lines) <= 11


def test_without_the_hook_the_first_step_is_refused(files, tmp_path):
    with pytest.raises(UserError, match='LoadedLrOptimWrapperConstructor needs a hook: add .*mmuniqrnet.LoadedLrHook'):
        trained(tmp_path, model_config(files['classifier']), custom_hooks=[])
