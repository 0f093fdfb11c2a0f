"""The ablations' rows build what they say, and the report says what the runs gave."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmuniqrnet.checkpoints.file_io import read_checkpoint, state_dict_of
from mmuniqrnet.engine import LossBalanceHook
from mmuniqrnet.models.heads import BoxBranch, MaskBranch, PixelGuidance, PointingBoxBranch
from mmuniqrnet.models.layers import ChannelGate, SpatialGate
from mmuniqrnet.registry import HOOKS, MODELS
from mmuniqrnet.utils.errors import UserError

pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')

FOLDER = Path(__file__).parents[2] / 'benchmarks' / 'ablations'


@pytest.fixture(scope='module')
def ablations():
    sys.path.insert(0, str(FOLDER))
    import report
    import rows
    import run

    yield dict(rows=rows, run=run, report=report)
    sys.path.remove(str(FOLDER))
    for name in ('rows', 'run', 'report'):
        sys.modules.pop(name)


def count(model, part: str, kind: type) -> int:
    return sum(isinstance(module, kind) for module in model.get_submodule(part).modules())


def test_rows_are_the_models_that_their_titles_say(ablations, tmp_path):
    rows, run = ablations['rows'], ablations['run']
    built, hooks, pointing = {}, {}, set()
    for name, row in rows.ROWS.items():
        if row.whole:
            continue
        cfg = run.config_of(name, 1, str(tmp_path / 'data'), tmp_path / name / 'seed1')
        assert cfg.train_cfg.max_iters == row.iterations and cfg.randomness.seed == 1
        weights = f'{row.tests}/seed1/iter_{row.iterations}.pth' if row.tests else row.start and f'{row.start}.pth'
        assert cfg.load_from == (weights and str(tmp_path / weights))
        assert cfg.train_dataloader.dataset.get('crowded', False) == (name != 'start')
        model = MODELS.build(cfg.model)
        head = model.head
        if isinstance(head.box_branch, PointingBoxBranch):
            pointing.add(name)
        assert head.test_cfg.mask_margin == (0.1 if name.endswith('-cut') else None)
        hooks[name] = [HOOKS.build(hook) for hook in cfg.custom_hooks]
        built[name] = (
            count(model, 'backbone', ChannelGate),
            count(model, 'backbone', SpatialGate),
            count(model, 'neck', SpatialGate),
            count(head, '', BoxBranch),
            count(head, '', MaskBranch),
            count(head, '', PixelGuidance),
            head.box_from_mask,
            [hook.strategy for hook in hooks[name]],
        )
    shape = {name: parts[:-1] for name, parts in built.items()}
    assert shape['joint'] == (3, 3, 2, 1, 1, 1, True)
    assert shape['gates-none'] == (0, 0, 0, 1, 1, 1, True)
    assert shape['gates-channel'] == (3, 0, 0, 1, 1, 1, True)
    assert shape['gates-spatial'] == (0, 3, 0, 1, 1, 1, True)
    assert shape['gates-both'] == (3, 3, 0, 1, 1, 1, True)
    assert shape['start'] == (0, 0, 0, 1, 1, 0, True)
    assert shape['masks'] == shape['shipped-masks'] == shape['scratch-masks'] == (3, 3, 2, 0, 1, 1, False)
    assert shape['masks-plain'] == (3, 3, 2, 0, 1, 0, False)
    assert shape['joint-cut'] == shape['joint']
    assert shape['joint-plain'] == (3, 3, 2, 1, 1, 0, True)
    assert shape['joint-reg'] == (3, 3, 2, 1, 1, 1, False)
    assert shape['boxes-plain'] == (3, 3, 2, 1, 0, 0, False)
    assert shape['boxes-plain-pointing'] == (3, 3, 2, 0, 0, 0, False)
    assert shape['boxes-pointing'] == (3, 3, 2, 0, 0, 1, False)
    assert shape['joint-pointing'] == (3, 3, 2, 0, 1, 1, True)
    assert {name for name in built if name.endswith('pointing')} == pointing
    balances = {name: parts[-1] for name, parts in built.items()}
    assert balances['masks'] == balances['boxes-plain'] == []
    tasks = {name: set(found[0].tasks) for name, found in hooks.items() if found}
    assert tasks['uncertainty'] == {'box', 'mask'} and tasks['uncertainty-aux'] == {'box', 'mask', 'aux'}
    assert tasks['uncertainty-each'] == {'l1', 'giou', 'bce', 'dice', 'aux'}
    assert hooks['joint'][0].tasks == dict(box=('loss_box',), mask=('loss_mask', 'loss_aux'))
    for name in rows.GROUPS['balance']:
        (strategy,) = balances[name]
        kind = type(strategy).__name__.lower()
        assert kind == {'joint': 'magnitude', 'dwa': 'dynamicweightaverage', 'random': 'randomweights'}.get(
            name, name.partition('-')[0]
        )
        if kind == 'fixed':
            assert strategy.initial_weights() == dict(box=float(name.partition('-')[2]), mask=1.0)


def test_short_rows_leave_out_the_options_that_are_newer_than_their_results(ablations, tmp_path, monkeypatch):
    run = ablations['run']
    monkeypatch.setattr(run, 'NEWER_OPTIONS', (*run.NEWER_OPTIONS, 'model.neck.gated', 'model.neck.no_such_option'))
    cfg = run.config_of('joint', 1, str(tmp_path), tmp_path / 'joint' / 'seed1')
    assert 'gated' not in cfg.model.neck and cfg.model.neck.gate_rank == 8
    assert 'deep_supervision' not in cfg.model.head


ALL_IN_HEAD = {f'model.head.{part}' for part in ('encoder', 'pixel_guidance', 'deep_supervision')}


# 'modelling' alone: the crowded rows differ from these in their data only.
@pytest.mark.parametrize(
    'name, differs',
    [
        ('nano', {}),
        ('nano-magnitude', {'custom_hooks'}),
        ('nano-magnitude-two', {'custom_hooks'}),
        ('nano-fixed-0.2', {'custom_hooks'}),
        ('nano-gates-published', {'model.backbone', 'model.neck'}),
        ('nano-after-norm', {'model.backbone'}),
        ('nano-guide-gates', {'model.head.pixel_guidance'}),
        ('nano-after-norm-guide', {'model.backbone', 'model.head.pixel_guidance'}),
        ('nano-blind-reference', {'model.head.box_branch'}),
        ('nano-deep', {'model.head.deep_supervision'}),
        ('nano-deep-task', {'custom_hooks', 'model.head.deep_supervision'}),
        ('nano-levels', {'model.head.encoder'}),
        ('nano-one-level', {'model.head.encoder'}),
        ('nano-before', {'custom_hooks', 'model.backbone', 'model.neck', 'model.head.box_branch'}),
        ('nano-all', {'model.backbone', *ALL_IN_HEAD}),
        ('nano-plain-neck', {'model.neck'}),
        ('nano-no-gates', {'model.backbone', 'model.neck'}),
    ],
)
def test_whole_trainings_differ_from_nano_in_what_their_titles_say(ablations, tmp_path, name, differs):
    rows, run = ablations['rows'], ablations['run']
    assert name in rows.GROUPS['modelling'] and f'crowded-{name}' in rows.GROUPS['modelling-crowded']
    folder = tmp_path / 'runs' / 'seed1'
    plain = Config.fromfile(rows.CONFIG)
    first = run.config_of('nano', 1, 'data', folder)
    cfg = run.config_of(name, 1, 'data', folder)
    found = {
        key
        for key in ('custom_hooks', 'model.backbone', 'model.neck', 'model.text_encoder')
        if run.config_part(cfg, key) != run.config_part(first, key)
    }
    found |= {f'model.head.{key}' for key in cfg.model.head if cfg.model.head[key] != first.model.head.get(key)}
    assert found == set(differs)
    assert [cfg[k] for k in ('optim_wrapper', 'param_scheduler')] == [
        plain[k] for k in ('optim_wrapper', 'param_scheduler')
    ]
    assert cfg.train_cfg == dict(plain.train_cfg, val_interval=1667) and cfg.load_from is None
    assert cfg.default_hooks.checkpoint.interval == 5000
    crowded = run.config_of(f'crowded-{name}', 1, 'data', folder)
    dataset = dict(cfg.train_dataloader.dataset, crowded=True, num_images=rows.NUM_IMAGES)
    assert crowded.model == cfg.model and crowded.train_dataloader.dataset == dataset
    MODELS.build(cfg.model)
    hooks = [HOOKS.build(hook) for hook in cfg.custom_hooks]
    tasks = next(hook.tasks for hook in hooks if isinstance(hook, LossBalanceHook))
    two = {'box', 'mask'}
    expected = {'nano-magnitude-two': two, 'nano-before': two, 'nano-deep-task': {'box', 'mask', 'aux', 'deep'}}
    assert set(tasks) == expected.get(name, {'box', 'mask', 'aux'})


def test_whole_trainings_are_scaled_in_time(ablations, tmp_path):
    run = ablations['run']
    cfg = run.config_of('crowded-nano', 1, str(tmp_path), tmp_path / 'nano' / 'seed1', iterations=1000, workers=2)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (1000, 334)
    warm_up, cosine = cfg.param_scheduler
    assert (warm_up.begin, warm_up.end) == (0, 40)
    assert (cosine.begin, cosine.end, cosine.T_max) == (40, 1000, 960)
    assert cfg.default_hooks.checkpoint.interval == 1000
    assert all(cfg[f'{part}_dataloader'].num_workers == 2 for part in ('train', 'val', 'test'))
    short = run.config_of('joint', 1, str(tmp_path), tmp_path / 'joint' / 'seed1', iterations=1000)
    assert short.train_cfg.max_iters == 750


def test_iterations_are_for_whole_trainings_only(ablations, tmp_path):
    with pytest.raises(UserError, match='--iterations is for whole trainings'):
        ablations['run'].main(['--rows', 'joint', '--iterations', '2', '--results', str(tmp_path)])


@pytest.mark.slow
def test_two_iterations_of_a_whole_training(ablations, tmp_path):
    row, sizes = 'crowded-nano-deep', dict(train=32, val=2)
    folder = tmp_path / 'work' / row / 'seed1'
    folder.mkdir(parents=True)
    # A process of its own, because a run sends its output to its log.
    code = (
        'import rows, run\n'
        'from pathlib import Path\n'
        f'rows.NUM_IMAGES.clear(); rows.NUM_IMAGES.update({sizes})\n'
        f'run.train("{row}", 1, "{tmp_path}/data", Path("{folder}"), Path("{tmp_path}/result.json"), 2, 1)\n'
    )
    subprocess.run([sys.executable, '-c', code], cwd=FOLDER, check=True)
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['iterations'] == 2 and [point['iter'] for point in result['curve']] == [1, 2]
    assert (folder / 'iter_2.pth').exists()


def test_rows_start_from_text_encoder_and_swin_without_gates(ablations, tmp_path):
    run, rows = ablations['run'], ablations['rows']
    for name in rows.STARTS:
        run.keep_start(rows.STARTS[name], tmp_path / f'{name}.pth')
        state = torch.load(tmp_path / f'{name}.pth', weights_only=True)['state_dict']
        cfg = run.config_of('gates-none', 0, 'data', tmp_path / 'gates-none' / 'seed0')
        plain = MODELS.build(cfg.model)
        assert {key: t.shape for key, t in state.items()} == {
            key: t.shape for key, t in plain.state_dict().items() if key.startswith(('text_encoder.', 'backbone.'))
        }
        whole = state_dict_of(read_checkpoint(rows.STARTS[name]))
        assert all(torch.equal(tensor, whole[key]) for key, tensor in state.items())


def test_every_row_but_the_start_stands_in_a_table(ablations):
    rows = ablations['rows']
    assert {name for names in rows.GROUPS.values() for name in names} == set(rows.ROWS) - {'start'}
    assert {row.start for row in rows.ROWS.values()} == {None, *rows.STARTS}


def test_the_report_says_mean_and_spread_of_the_last_point(ablations, tmp_path):
    report, rows = ablations['report'], ablations['rows']
    rng = np.random.default_rng(0)
    ends = {}
    for name in rows.ROWS:
        for seed in (0, 1, 2)[: 2 if name == 'dwa' else 3]:
            curve = [{'iter': i, **{metric: rng.uniform(10, 90) for metric in report.METRICS}} for i in (125, 250)]
            if name == 'masks':
                curve = [{'iter': p['iter'], 'mIoU': p['mIoU'], 'oIoU': p['oIoU']} for p in curve]
            ends.setdefault(name, []).append(curve[-1])
            folder = tmp_path / 'runs'
            folder.mkdir(exist_ok=True)
            balance = [{'iter': 50, 'balance/weight_box': 1.2, 'balance/weight_mask': 0.8}]
            (folder / f'{name}_seed{seed}.json').write_text(
                json.dumps(dict(row=name, seed=seed, iterations=250, seconds=36, curve=curve, balance=balance))
            )
    docs = tmp_path / 'docs'
    (docs / 'images').mkdir(parents=True)
    marks = '\n'.join(
        f'Of {group}:\n<!-- {group} -->\nold\n<!-- end {group} -->' for group in (*rows.GROUPS, 'consistency')
    )
    for seed, share in ((0, 20.0), (1, 30.0)):
        maps = [dict(map='backbone 0 gate', N=5, inside=share / 2, area=4.0, pointing=share + 1, preferred=share + 2)]
        (tmp_path / 'runs' / f'consistency_joint_{seed}.json').write_text(
            json.dumps(dict(row='joint', seed=seed, maps=maps))
        )
    (docs / 'ablations.md').write_text(f'# Ablations\n\n{marks}\n\nThe end.\n')
    report.main(['--results', str(tmp_path / 'runs'), '--docs', str(docs)])
    page = (docs / 'ablations.md').read_text()
    assert 'old' not in page and page.startswith('# Ablations') and page.endswith('The end.\n')
    (line,) = [line for line in page.splitlines() if line.startswith('| `dwa`')]
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    assert cells[2:4] == ['250', '2']  # the iterations of the runs, not of the row
    for cell, metric in zip(cells[4:], report.METRICS):
        values = [end[metric] for end in ends['dwa']]
        spread = abs(values[0] - values[1]) / 2**0.5
        assert cell == f'{sum(values) / 2:.1f} ± {spread:.1f}'
    line = next(line for line in page.splitlines() if line.startswith('| `masks`'))
    assert [cell.strip() for cell in line.strip('|').split('|')][4:6] == ['', '']
    line = next(line for line in page.splitlines() if line.startswith('| backbone 0 gate'))
    assert line.split('|')[2].strip() == '27.0 / 26.0 / 12.5' and 'cover 4.0 %' in page
    pictures = {path.name for path in (docs / 'images').iterdir()}
    assert pictures == {f'ablations-{name}.png' for name in (*rows.GROUPS, 'sweep', 'weights')}
