"""Every config builds, and one of each kind, at reduced size, trains a step on a miniature of its data."""

import ast
import re
from pathlib import Path

import pytest
import torch
from helpers.config_samples import HAS_PYARROW, build_without_memory, make_data, reduce, single_datasets
from helpers.paths import ROOT
from mmdet.models import SwinTransformer
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope, init_default_scope

from mmuniqrnet.registry import DATASETS, HOOKS, METRICS, MODELS, VISUALIZERS
from mmuniqrnet.structures import TextFeatures

FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs').rglob('*.py'))
CONFIGS = [path for path in FILES if path.count('/') == 1]
DATA_CONFIGS = [
    # RefCOCO-M and Ref-L4 are parquet files.
    pytest.param(path, marks=pytest.mark.skipif('corrected' in path and not HAS_PYARROW, reason='needs pyarrow'))
    for path in CONFIGS
]
# One of each network and each kind of data; the others differ from them in sizes and file names.
FAMILIES = (
    'uniqrnet_swin-nano_refshapes',
    'uniqrnet_swin-nano_refshapes-none',
    'uniqrnet_swin-b_refcoco',
    'uniqrnet_swin-t_refcocog-umd',
    'uniqrnet_swin-s_referit',
    'uniqrnet_swin-b_mixed',
    'qrnet_swin-s_refcoco',
    'uniqrnet-res_swin-s_refcoco',
    'uniqrnet-fpn_swin-s_refcoco',
    'uniqrnet-uper_swin-s_refcoco',
    'uniqrnet-segformer_swin-s_refcoco',
    'uniqrnet_query-modulated-r50_refcoco',
    'uniqrnet_efficientnet-lite0_photos',
)
SIZES = dict(
    t=dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    s=dict(embed_dims=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)),
    b=dict(embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
)
# Per config's last word: data set, its own file of refs, tokens, GPUs x batch.
RECIPES = {
    'refcoco': ('refcoco', 'refcoco/refs(unc).p', 20, 128),
    'refcoco-plus': ('refcoco+', 'refcoco+/refs(unc).p', 20, 128),
    'refcocog-umd': ('refcocog_umd', 'refcocog/refs(umd).p', 40, 128),
    'refcocog-google': ('refcocog_google', 'refcocog/refs(google).p', 40, 128),
    'referit': ('referit', None, 20, 64),
    'mixed': ('refcoco', 'refcoco/refs(unc).p', 40, 128),
}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmuniqrnet')
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return make_data(tmp_path_factory.mktemp('data'))


def load(name: str) -> Config:
    return Config.fromfile(ROOT / 'configs' / f'{name}.py')


def best_of(cfg: Config) -> list[str]:
    """The metrics that pick the best checkpoints."""
    best = cfg.default_hooks.checkpoint.save_best
    return [best] if isinstance(best, str) else best


def test_every_backbone_has_every_data_set():
    names = {f'configs/uniqrnet_swin-{size}_{data}.py' for size in SIZES for data in set(RECIPES) - {'mixed'}}
    assert names < set(CONFIGS)
    assert {f'configs/{name}.py' for name in FAMILIES} < set(CONFIGS)


@pytest.mark.parametrize('path', FILES)
def test_each_file_says_what_it_is_in_one_line_and_imports_nothing(path):
    """An import that is not a builtin's would make mmengine read the file in another way."""
    tree = ast.parse((ROOT / path).read_text())
    says = ast.get_docstring(tree)
    assert says and '\n' not in says and says.endswith('.')
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_first_weights_have_one_address_in_one_place_for_each_size():
    addresses = [url for path in FILES for url in re.findall(r'https?://[^\s\']+', (ROOT / path).read_text())]
    assert len(addresses) == len(set(addresses)) == len(SIZES)
    for path in [path for path in CONFIGS if re.search(r'_swin-[tsb]', path) and '/eval_' not in path]:
        assert Config.fromfile(ROOT / path).model.backbone.init_cfg.checkpoint in addresses


@pytest.mark.parametrize('path', [path for path in CONFIGS if re.search(r'/uniqrnet_swin-[tsb]_', path)])
def test_config_of_a_data_set_is_its_four_bases_and_a_few_lines(path):
    tree = ast.parse((ROOT / path).read_text())
    bases = ast.literal_eval(tree.body[1].value)
    size, data = re.search(r'uniqrnet_swin-([tsb])_(.*)\.py', path).groups()
    assert bases[:2] == [f'./_base_/models/uniqrnet_swin-{size}.py', f'./_base_/datasets/{data}.py']
    assert [Path(base).parent.name for base in bases[2:]] == ['schedules', '_base_']
    assert len(tree.body) <= 5


@pytest.mark.parametrize('path', CONFIGS)
def test_only_qrnet_has_the_published_gates(path):
    cfg = Config.fromfile(ROOT / path).model
    published = path.startswith('configs/qrnet_')
    for part in (cfg.backbone, cfg.neck):
        assert (part.gate_norm, part.gate_limit) == ((False, None) if published else (True, 4.0))
    assert cfg.backbone.gate_output == ('before_norm' if published else 'after_norm')


@pytest.fixture(scope='module')
def checked() -> set[str]:
    """The configs of networks that were built in this module: those of several data sets have the same."""
    return set()


@pytest.mark.parametrize('path', CONFIGS)
def test_full_size_network_fits_together(path, checked):
    """On the meta device, where shapes are computed and numbers are not."""
    cfg = Config.fromfile(ROOT / path).model
    if str(cfg) in checked:
        return
    checked.add(str(cfg))
    model = build_without_memory(cfg).eval()
    normalised = any('.channel.norm.' in name for name in model.state_dict())
    assert normalised == cfg.backbone.gate_norm
    side, length, width = cfg.data_preprocessor.canvas_size, cfg.text_encoder.max_length, cfg.backbone.text_dim
    with torch.device('meta'):
        text = TextFeatures(torch.empty(2, length, width), torch.empty(2, width), torch.empty(2, length).bool())
        stages = model.backbone(torch.empty(2, 3, side, side), text.sentence)
        out = model.head(model.neck(stages, text.sentence), text, torch.empty(2, side, side).bool())
    assert ('boxes' in out) == (cfg.head.box_branch is not None)
    assert ('mask_logits' in out) == (cfg.head.mask_branch is not None)
    assert 'boxes' not in out or out['boxes'].shape == (2, 4)
    assert 'mask_logits' not in out or out['mask_logits'].shape[-2:] in {(side // n, side // n) for n in (1, 4, 8)}
    if cfg.head.pixel_guidance is not None:
        guided = cfg.head.pixel_guidance
        assert tuple(guided.backbone_channels) == tuple(stage.shape[1] for stage in stages)


@pytest.mark.parametrize('name', FAMILIES)
def test_config_trains_a_step_and_answers(name, data):
    cfg = reduce(load(name), data)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    cfg.optim_wrapper.pop('constructor', None)  # decides on learning rates in a Runner, which is not used here
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    train, test = (DATASETS.build(cfg[f'{part}_dataloader'].dataset) for part in ('train', 'test'))
    before = {name: value.clone() for name, value in model.named_parameters()}
    model.train()
    log = model.train_step(pseudo_collate([train[i] for i in range(4)]), optim_wrapper)
    assert torch.isfinite(log['loss'])
    # The gates' last V is zero at first, so what stands before it has no gradient in the first step.
    late = ('squeeze.V', 'decoder.weight', 'decoder.bias', 'channel.norm.weight', 'channel.norm.bias')
    unchanged = [
        name
        for name, value in model.named_parameters()
        if value.requires_grad
        and torch.equal(value, before[name])
        and not name.endswith(late)
        # An untrained mask may be in one piece for every sample; then there is nothing to mix.
        and not name.startswith('head.box_branch.references.mix.')
        # The last layer is zero at first.
        and not (name.startswith('head.box_refiner.') and '.mlp.layers.2.' not in name)
    ]
    assert not unchanged
    model.eval()
    answers = model.val_step(pseudo_collate([test[0], test[1]]))
    for answer in answers:
        height, width = answer.ori_shape
        assert ('bboxes' in answer.pred_instances) == (cfg.model.head.box_branch is not None)
        assert ('masks' in answer.pred_instances) == (cfg.model.head.mask_branch is not None)
        if 'bboxes' in answer.pred_instances:
            x1, y1, x2, y2 = answer.pred_instances.bboxes[0].tolist()
            assert 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height
        if 'masks' in answer.pred_instances:
            assert answer.pred_instances.masks.shape == (1, height, width)
    metric = METRICS.build(cfg.test_evaluator)
    metric.process({}, [answer.to_dict() for answer in answers])
    figures = metric.evaluate(2)
    name = f'{answers[0].dataset}/{answers[0].split}'
    assert figures[f'{name}/N'] == 2
    # The figures that pick the best checkpoints are some that the metric gives.
    assert {key.rpartition('/')[2] for key in best_of(cfg)} <= {key.rpartition('/')[2] for key in figures}


@pytest.mark.parametrize('path', DATA_CONFIGS)
def test_data_of_config_pass_its_pipelines(path, data):
    cfg = reduce(Config.fromfile(ROOT / path), data)
    loaders = {part: cfg[f'{part}_dataloader'] for part in ('train', 'val', 'test') if f'{part}_dataloader' in cfg}
    sets = {}
    for part, loader in loaders.items():
        dataset = DATASETS.build(loader.dataset)
        assert len(dataset) > 0
        assert dataset[len(dataset) - 1]['inputs'].shape[0] == 3
        sets[part] = {f'{info["dataset"]}/{info["split"]}' for info in map(dataset.get_data_info, range(len(dataset)))}
    if 'train' in sets:
        assert all(name.endswith('/train') for name in sets['train'])
        assert {key.rpartition('/')[0] for key in best_of(cfg)} <= sets['val'] | {'mean'}
        assert not sets['train'] & sets['test']


@pytest.mark.parametrize('path', CONFIGS)
def test_hooks_of_config_are_there(path):
    cfg = Config.fromfile(ROOT / path)
    # Another name than that of real runs: one of a name lives as long as the process.
    cfg.visualizer.update(vis_backends=None, name='test_configs')
    VISUALIZERS.build(cfg.visualizer)  # a drawing hook asks for the current one
    for hook in [*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])]:
        assert isinstance(HOOKS.build(hook), Hook)


@pytest.mark.parametrize('path', CONFIGS)
def test_every_task_of_the_balance_has_losses(path):
    """A config that removes a branch removes its task as well, and none is left without one."""
    cfg = Config.fromfile(ROOT / path)
    head, hooks = cfg.model.head, [h for h in cfg.get('custom_hooks', []) if h.type == 'LossBalanceHook']
    parts = dict(box=head.box_branch, mask=head.mask_branch, aux=head.pixel_guidance)
    there = {task for task, part in parts.items() if part is not None}
    assert [set(hook.tasks) for hook in hooks] == ([there] if {'box', 'mask'} <= there else [])


@pytest.mark.parametrize('path', [path for path in CONFIGS if re.search(r'_swin-[tsb]', path) and '/eval_' not in path])
def test_full_size_config_has_the_sizes_of_its_name(path):
    cfg = Config.fromfile(ROOT / path)
    _, backbone, data = Path(path).stem.split('_')
    name, refs, tokens, batch = RECIPES[data]
    train, val = (single_datasets(cfg[f'{part}_dataloader'].dataset)[0] for part in ('train', 'val'))
    assert val.get('dataset_name', 'referit') == name
    assert {train.get('split_file'), val.get('split_file')} == {refs}
    assert cfg.model.text_encoder.max_length == cfg.model.head.encoder.num_text_tokens == tokens
    assert cfg.auto_scale_lr.base_batch_size == batch == 8 * cfg.train_dataloader.batch_size
    size = SIZES[backbone[-1]]
    assert {key: cfg.model.backbone[key] for key in size} == size
    channels = tuple(size['embed_dims'] * 2**i for i in range(4))
    assert tuple(cfg.model.neck.in_channels) == channels
    if cfg.model.head.pixel_guidance is not None:
        assert tuple(cfg.model.head.pixel_guidance.backbone_channels) == channels


def test_mixed_training_leaves_out_the_listed_images(data):
    """The list has one of the training images: all three sets lose it, and nothing else."""
    cfg = reduce(load('uniqrnet_swin-b_mixed'), data)
    whole = cfg.copy()
    found = DATASETS.build(cfg.train_dataloader.dataset)
    for dataset in whole.train_dataloader.dataset.datasets:
        dataset.filter_cfg = None
    full = DATASETS.build(whole.train_dataloader.dataset)
    images = [{dataset.get_data_info(i)['img_id'] for i in range(len(dataset))} for dataset in found.datasets]
    all_images = [{dataset.get_data_info(i)['img_id'] for i in range(len(dataset))} for dataset in full.datasets]
    assert [dataset.dataset_name for dataset in found.datasets] == ['refcoco', 'refcoco+', 'refcocog_umd']
    assert [len(before - after) for before, after in zip(all_images, images)] == [1, 1, 1]


def test_the_nano_that_refuses_is_the_nano_on_other_data():
    plain, refusing = load('uniqrnet_swin-nano_refshapes'), load('uniqrnet_swin-nano_refshapes-none')
    for part in ('train', 'val', 'test'):
        dataset = refusing[f'{part}_dataloader'].dataset
        assert (dataset.pop('no_target'), dataset.data_root) == (0.2, 'data/refshapes-none')
        dataset.data_root = plain[f'{part}_dataloader'].dataset.data_root
    assert 0 < refusing.test_evaluator.pop('refuse_below') < 1
    assert {key for key in plain if key != 'dataset' and refusing[key] != plain[key]} == set()
    assert set(plain) == set(refusing)


def test_flagship_is_full_size():
    """Swin-B, gated, and everything else of QRNet's size; the text model is left out, it is not ours."""
    model = build_without_memory(load('uniqrnet_swin-b_refcoco').model)
    swin = SwinTransformer(**SIZES['b'])
    ours = {name: value.shape for name, value in model.backbone.state_dict().items() if not name.startswith('gates.')}
    assert ours == {name: value.shape for name, value in swin.state_dict().items()}
    assert all(gate is not None for gate in model.backbone.gates)
    assert model.neck.num_outs == 5 and model.head.encoder.level_sizes == ((20, 20), (10, 10))
    assert all(getattr(model.head, part) is not None for part in ('box_branch', 'mask_branch', 'pixel_guidance'))


def test_qrnet_has_as_many_parameters_as_published():
    cfg = load('qrnet_swin-s_refcoco')
    model = build_without_memory(cfg.model)
    parts = (model.backbone, model.neck, model.head)
    assert sum(value.numel() for part in parts for value in part.parameters()) == 163_244_718
    assert cfg.custom_hooks == []
