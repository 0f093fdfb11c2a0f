"""Options that nothing would read are refused, in one sentence; the others are merged as mmengine merges them."""

import inspect
import re
from argparse import ArgumentParser
from pathlib import Path

import pytest
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from mmuniqrnet.config import load_config, merge_options
from mmuniqrnet.config.options import READ_KEYS
from mmuniqrnet.utils.errors import UserError

CONFIGS = Path(__file__).parents[2] / 'configs'
FLAGSHIP = 'uniqrnet_swin-b_refcoco'
NANO = 'uniqrnet_swin-nano_refshapes'
QRNET = 'qrnet_swin-s_refcoco'
FPN = 'uniqrnet-fpn_swin-s_refcoco'
MASK_RCNN = 'pretrain/mask-rcnn_qrnet-swin-t_coco'


def load(name: str, line: str) -> Config:
    """With the options of a command line."""
    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return load_config(str(CONFIGS / f'{name}.py'), parser.parse_args(['--cfg-options', *line.split()]).cfg_options)


UNKNOWN_FIRST_KEY = [
    ('modle.neck=None', "the config has no 'modle'; the nearest name is 'model'"),
    ('load_form=a.pth', "the config has no 'load_form'; the nearest name is 'load_from'"),
    ('max_epochs=30', "the config has no 'max_epochs'; set train_cfg.max_epochs"),
    (
        'batch_size=8',
        "the config has no 'batch_size'; set train_dataloader.batch_size or val_dataloader.batch_size or "
        'test_dataloader.batch_size',
    ),
    ('text_model=bert', "the config has no 'text_model'; set model.text_encoder.model"),
    ('pretrained=a.pth', "the config has no 'pretrained'; set model.backbone.init_cfg.checkpoint"),
    (
        'num_tokens=40',
        "the config has no 'num_tokens'; set model.text_encoder.max_length and model.head.encoder.num_text_tokens",
    ),
]
UNKNOWN_ARGUMENT = [
    (FLAGSHIP, 'model.backbone.depth=3', "QRNetSwin has no argument 'depth'; the nearest name is 'depths'"),
    (FLAGSHIP, 'model.head.encoder.num_layer=3', "VisualLinguisticEncoder has no argument 'num_layer'"),
    (FLAGSHIP, 'model.backbone.init_cfg.checkpnt=a.pth', "Pretrained has no argument 'checkpnt'"),
    (FLAGSHIP, 'model.text_encoder.name=bert', "TextEncoder has no argument 'name'"),
    (FLAGSHIP, 'train_dataloader.dataset.anfile=a.json', "ReferDataset has no argument 'anfile'"),
    (FLAGSHIP, 'train_dataloader.dataset.pipeline.3.probe=1', "GuardedCrop has no argument 'probe'"),
    (FLAGSHIP, 'train_dataloader.dataset.pipeline.2.transforms.0.min=1', "mmdet.Brightness has no argument 'min'"),
    (FLAGSHIP, 'train_dataloader.sampler.shuffl=False', "DefaultSampler has no argument 'shuffl'"),
    (
        FLAGSHIP,
        'test_evaluator.refuse=0.5',
        "ReferringMetric has no argument 'refuse'; the nearest name is 'refuse_below'",
    ),
    (FLAGSHIP, 'optim_wrapper.accumulate=4', "Bf16OptimWrapper has no argument 'accumulate'"),
    (FLAGSHIP, 'optim_wrapper.optimizer.momentum=0.9', "AdamW has no argument 'momentum'"),
    (
        QRNET,
        'param_scheduler.0.milestone=[9]',
        "MultiStepLR has no argument 'milestone'; the nearest name is 'milestones'",
    ),
    (FLAGSHIP, 'train_cfg.max_epoch=9', "ResumableEpochLoop has no argument 'max_epoch'"),
    (
        FLAGSHIP,
        'custom_hooks.0.stratgy=dwa',
        "LossBalanceHook has no argument 'stratgy'; the nearest name is 'strategy'",
    ),
    (FLAGSHIP, 'visualizer.vis_backends.0.dir=a', "LocalVisBackend has no argument 'dir'"),
    (FLAGSHIP, 'log_processor.window=5', "LogProcessor has no argument 'window'; the nearest name is 'window_size'"),
    (FPN, 'model.head.mask_branch.decode_head.channel=1', "mmseg.FPNHead has no argument 'channel'"),
    (MASK_RCNN, 'model.roi_head.box_head.num_classes=1', "StandardRoIHead has no argument 'box_head'"),
    (MASK_RCNN, 'model.backbone.dept=1', "mmuniqrnet.QRNetSwin has no argument 'dept'"),
    # Only **kwargs would take these.
    (
        FLAGSHIP,
        'model.head.box_brach=None',
        "UniQRNetHead has no argument 'box_brach'; the nearest name is 'box_branch'",
    ),
    (FLAGSHIP, 'default_hooks.checkpoint.intervals=5', "CheckpointHook has no argument 'intervals'"),
    (FLAGSHIP, 'train_dataloader.dataset.pipeline.4.keep=True', "RandomChoiceResize has no argument 'keep'"),
    # Options that belong together are looked at together.
    (FLAGSHIP, 'default_hooks.ema.type=EMAHook default_hooks.ema.momentm=0.1', "EMAHook has no argument 'momentm'"),
    # Dicts without a type that mmengine reads.
    (
        FLAGSHIP,
        'train_dataloader.batchsize=8',
        "train_dataloader has no argument 'batchsize'; the nearest name is 'batch_size'",
    ),
    (FLAGSHIP, 'randomness.sed=1', "randomness has no argument 'sed'; the nearest name is 'seed'"),
    (FLAGSHIP, 'auto_scale_lr.enabled=True', "auto_scale_lr has no argument 'enabled'"),
    (FLAGSHIP, 'env_cfg.cudnn=True', "env_cfg has no argument 'cudnn'; the nearest name is 'cudnn_benchmark'"),
    (FLAGSHIP, 'default_hooks.loggr.interval=5', "default_hooks has no 'loggr'; the nearest name is 'logger'"),
    (
        FLAGSHIP,
        'default_hooks.visualisation=None',
        "default_hooks has no 'visualisation'; the nearest name is 'visualization'",
    ),
]
NO_PLACE = [
    (FLAGSHIP, 'custom_hooks.0.strategy.type=dwa', 'or put a dict there with custom_hooks.0.strategy._delete_=True'),
    (FLAGSHIP, 'custom_hooks.1.strategy=dwa', "custom_hooks is a list with the entries 0 to 0, and has no '1'"),
    (QRNET, 'custom_hooks.0.strategy=dwa', "custom_hooks is a list with no entries, and has no '0'"),
    (FLAGSHIP, 'custom_hooks.strategy=dwa', "custom_hooks is a list with the entries 0 to 0, and has no 'strategy'"),
    (
        FLAGSHIP,
        'custom_hooks.0=None',
        'one entry of the list custom_hooks can not be replaced; set custom_hooks as a whole',
    ),
    (FLAGSHIP, 'custom_hooks.0._delete_=True', 'one entry of the list custom_hooks can not be replaced'),
    (
        QRNET,
        'param_scheduler.0.milestones.0=9',
        'one entry of the list param_scheduler.0.milestones can not be replaced',
    ),
    (
        FLAGSHIP,
        'model.neck.in_channels.0=9',
        'model.neck.in_channels is (128, 256, 512, 1024) in the config, which has no',
    ),
    (
        FLAGSHIP,
        'model.text_encoder.max_length.x=9',
        'model.text_encoder.max_length is 20 in the config, which has no keys',
    ),
    (
        QRNET,
        'model.head.loss_aux.loss_weight=1',
        'model.head.loss_aux is None in the config, which has no keys; set model.head.loss_aux as a whole, or put a '
        'dict there with model.head.loss_aux._delete_=True',
    ),
    (FLAGSHIP, 'model.backbone=ResNet', 'model.backbone is a dict with a type; set model.backbone.type'),
    (FLAGSHIP, 'model.neck=None model.neck.num_outs=4', 'model.neck.num_outs=4 and option model.neck=None contradict'),
]
ALLOWED = [
    # What the config sets, also in a list, and what it does not set but a part takes.
    (FLAGSHIP, 'model.backbone.with_cp=True'),
    (FLAGSHIP, 'model.backbone.gated_stages=(0,1)'),
    (FLAGSHIP, 'custom_hooks.0.strategy=dwa'),
    (FLAGSHIP, 'custom_hooks.0.priority=LOW'),
    (FLAGSHIP, 'train_dataloader.dataset.pipeline.3.prob=0.1'),
    (FLAGSHIP, 'train_dataloader.sampler.seed=3'),
    (FLAGSHIP, 'train_dataloader.dataset.filter_cfg.exclude_img_ids=exclude.json'),
    (NANO, 'train_dataloader.dataset.generate=False'),
    (NANO, 'model.text_encoder.model=bert-base-cased'),
    (FLAGSHIP, 'optim_wrapper.type=AmpOptimWrapper optim_wrapper.loss_scale=dynamic'),
    (FLAGSHIP, 'optim_wrapper.constructor=DefaultOptimWrapperConstructor'),
    (FLAGSHIP, 'param_scheduler.0.convert_to_iter_based=True'),
    (FLAGSHIP, 'train_dataloader.num_batch_per_epoch=3 train_dataloader.prefetch_factor=2'),
    (MASK_RCNN, 'model.roi_head.bbox_head.num_classes=1 model.test_cfg.rcnn.score_thr=0.1'),
    # Below a dict without a type.
    (FLAGSHIP, 'optim_wrapper.clip_grad.max_norm=1'),
    (FLAGSHIP, 'custom_hooks.0.tasks.score=loss_score'),
    # What a Runner reads, whether or not the config sets it.
    (FLAGSHIP, 'load_from=a.pth resume=True work_dir=b experiment_name=c find_unused_parameters=True'),
    (FLAGSHIP, 'randomness.seed=3 randomness.deterministic=True'),
    # Parts that were not there, or are others.
    (FLAGSHIP, 'default_hooks.ema.type=EMAHook default_hooks.ema.momentum=0.5'),
    (FLAGSHIP, 'default_hooks.runtime_info=None'),
    (FLAGSHIP, 'model.head.loss_consistency.type=BoxMaskConsistencyLoss'),
    (FLAGSHIP, 'model.head.loss_mask_bce.type=mmdet.FocalLoss'),
    (FLAGSHIP, 'model.neck._delete_=True model.neck.type=mmdet.FPN model.neck.num_outs=5'),
    (QRNET, 'model.head.loss_aux._delete_=True model.head.loss_aux.type=mmdet.DiceLoss'),
    (FLAGSHIP, 'custom_hooks.0.strategy._delete_=True custom_hooks.0.strategy.type=dwa'),
    (FLAGSHIP, 'custom_hooks=[]'),
    (FLAGSHIP, 'model.head.encoder.levels=2,3,4 model.head.encoder.level_sizes=[(40,40),(20,20),(10,10)]'),
    (FLAGSHIP, 'custom_hooks.0.strategy=gradnorm custom_hooks.0.shared_parameters=neck'),
    (
        FLAGSHIP,
        'model.head.pixel_guidance=None custom_hooks.0.tasks._delete_=True custom_hooks.0.tasks.box=loss_box '
        'custom_hooks.0.tasks.mask=loss_mask',
    ),
    # Arguments that have moved; the part warns.
    (NANO, 'model.head.mask_margin=0.2'),
    # **kwargs that go on to another part.
    (
        FLAGSHIP,
        'train_dataloader.dataset.pipeline.4.resize_type=Resize train_dataloader.dataset.pipeline.4.backend=pillow',
    ),
    (FLAGSHIP, 'model.head.mask_branch.norm_cfg.type=BN model.head.mask_branch.norm_cfg.requires_grad=False'),
    # What can not be found here is left to mmengine.
    (FLAGSHIP, 'model.backbone.type=mypackage.MyBackbone model.backbone.my_option=1'),
]


@pytest.mark.parametrize('option, sentence', UNKNOWN_FIRST_KEY)
def test_unknown_first_key(option, sentence):
    with pytest.raises(UserError, match=f'^option {re.escape(option)}: {re.escape(sentence)}\\.$'):
        load(FLAGSHIP, option)


@pytest.mark.parametrize('name, options, sentence', UNKNOWN_ARGUMENT)
def test_argument_that_a_part_does_not_take(name, options, sentence):
    wrong = options.split()[-1]
    with pytest.raises(UserError, match=f'^option {re.escape(wrong)}: {re.escape(sentence)}.*\\.$'):
        load(name, options)


@pytest.mark.parametrize('name, options, sentence', NO_PLACE)
def test_no_place_for_an_option(name, options, sentence):
    with pytest.raises(UserError, match=f'^option .*{re.escape(sentence)}.*\\.$'):
        load(name, options)


@pytest.mark.parametrize('name, options', ALLOWED)
def test_allowed(name, options):
    cfg = load(name, options)
    expected = Config.fromfile(CONFIGS / f'{name}.py')
    for option in options.split():
        key, _, value = option.partition('=')
        expected.merge_from_dict({key: DictAction._parse_iterable(value)})
    expected.setdefault('work_dir', f'work_dirs/{Path(name).name}')
    if '_delete_' not in options:  # one after the other is not the same then
        assert cfg.to_dict() == expected.to_dict()


def test_another_type_must_take_what_the_config_sets():
    with pytest.raises(UserError) as error:
        load(FLAGSHIP, 'model.head.loss_mask_bce.type=mmdet.L1Loss')
    assert str(error.value) == (
        "option model.head.loss_mask_bce.type=mmdet.L1Loss: mmdet.L1Loss has no argument 'use_sigmoid', which the "
        'config sets; add model.head.loss_mask_bce._delete_=True to drop what it sets.'
    )
    cfg = load(FLAGSHIP, 'model.head.loss_mask_bce._delete_=True model.head.loss_mask_bce.type=mmdet.L1Loss')
    assert cfg.model.head.loss_mask_bce == dict(type='mmdet.L1Loss')


def test_a_dict_is_merged_and_looked_at_key_by_key():
    cfg = Config.fromfile(CONFIGS / f'{FLAGSHIP}.py')
    merge_options(
        cfg, {'model.backbone': dict(with_cp=True), 'custom_hooks.0': dict(strategy=dict(_delete_=True, type='dwa'))}
    )
    assert cfg.model.backbone.with_cp and cfg.model.backbone.embed_dims == 128
    assert cfg.custom_hooks[0].strategy.type == 'dwa' and cfg.custom_hooks[0].type == 'LossBalanceHook'
    with pytest.raises(UserError, match=r"custom_hooks\.0\.strategy\.temp=1: dwa has no argument 'temp'"):
        merge_options(cfg, {'custom_hooks.0.strategy.temp': 1})
    with pytest.raises(UserError, match=r"option model\.backbone\.cp=True: QRNetSwin has no argument 'cp'"):
        merge_options(cfg, {'model': dict(backbone=dict(cp=True))})


def test_a_refused_option_changes_nothing():
    cfg = Config.fromfile(CONFIGS / f'{FLAGSHIP}.py')
    before, options = cfg.to_dict(), {'model.backbone.with_cp': True, 'model.backbone.depth': 3}
    with pytest.raises(UserError):
        merge_options(cfg, options)
    assert cfg.to_dict() == before and options == {'model.backbone.with_cp': True, 'model.backbone.depth': 3}


def test_a_variable_of_the_config_file_may_be_set_and_a_warning_says_that_it_was_copied(tmp_path, recwarn):
    path = tmp_path / 'mine.py'
    base = str(CONFIGS / f'{FLAGSHIP}.py')
    path.write_text(f'_base_ = {base!r}\nmy_rate = 1e-3\noptim_wrapper = dict(optimizer=dict(lr=my_rate))')
    load_config(str(path), {'optim_wrapper.optimizer.lr': 1e-4})
    assert not [warning for warning in recwarn if 'my_rate' in str(warning.message)]
    with pytest.warns(
        UserWarning, match='my_rate is a variable of the config file: mmengine has already copied its value'
    ):
        cfg = load_config(str(path), {'my_rate': 1e-2})
    assert (cfg.my_rate, cfg.optim_wrapper.optimizer.lr) == (1e-2, 1e-3)


def test_a_part_of_ones_own_is_known_by_its_arguments(tmp_path, monkeypatch):
    (tmp_path / 'my_parts_for_options.py').write_text(
        """
from mmuniqrnet.models import QRNetSwin
from mmuniqrnet.registry import MODELS

@MODELS.register_module()
class MySwinForOptions(QRNetSwin):
    def __init__(self, colour='red', **kwargs):
        super().__init__(**kwargs)
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    base = str(CONFIGS / f'{FLAGSHIP}.py')
    (tmp_path / 'mine.py').write_text(
        f"_base_ = {base!r}\ncustom_imports = dict(imports=['my_parts_for_options'])\n"
        "model = dict(backbone=dict(type='MySwinForOptions'))"
    )
    path = str(tmp_path / 'mine.py')
    cfg = load_config(path, {'model.backbone.colour': 'blue', 'model.backbone.gate_rank': 4})
    assert (cfg.model.backbone.colour, cfg.model.backbone.gate_rank) == ('blue', 4)
    with pytest.raises(UserError, match="MySwinForOptions has no argument 'color'; the nearest name is 'colour'"):
        load_config(path, {'model.backbone.color': 'blue'})


def test_all_that_a_runner_reads_of_a_config_is_known():
    read = set(re.findall(r"(?<!\w)cfg(?:\.get\(|\[)\s*'(\w+)'", inspect.getsource(Runner)))
    assert {'model', 'randomness', 'sync_bn', 'find_unused_parameters', 'compile'} <= read <= READ_KEYS
