"""The ablations' rows build what they say, and the report says what the runs gave."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope, init_default_scope

from mmuniqrnet.models.heads import BoxBranch, MaskBranch, PixelGuidance
from mmuniqrnet.models.layers import ChannelGate, SpatialGate
from mmuniqrnet.registry import HOOKS, MODELS

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


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmuniqrnet')
    yield
    DefaultScope._instance_dict.clear()


def count(model, part: str, kind: type) -> int:
    return sum(isinstance(module, kind) for module in model.get_submodule(part).modules())


def test_rows_are_the_models_that_their_titles_say(ablations, tmp_path):
    rows, run = ablations['rows'], ablations['run']
    built = {}
    for name, row in rows.ROWS.items():
        cfg = run.config_of(name, 1, str(tmp_path / 'data'), tmp_path / name / 'seed1')
        assert cfg.train_cfg.max_iters == rows.ITERATIONS * row.budget and cfg.randomness.seed == 1
        assert cfg.load_from == (str(tmp_path / 'masks/seed1' / f'iter_{rows.ITERATIONS}.pth') if row.start else None)
        model = MODELS.build(cfg.model)
        head = model.head
        built[name] = (count(model, 'backbone', ChannelGate), count(model, 'backbone', SpatialGate),
                       count(model, 'neck', SpatialGate), count(head, '', BoxBranch), count(head, '', MaskBranch),
                       count(head, '', PixelGuidance), head.box_from_mask,
                       [HOOKS.build(hook).strategy for hook in cfg.custom_hooks])
    shape = {name: parts[:-1] for name, parts in built.items()}
    assert shape['joint'] == (3, 3, 2, 1, 1, 1, True)
    assert shape['gates-none'] == (0, 0, 0, 1, 1, 1, True)
    assert shape['gates-channel'] == (3, 0, 0, 1, 1, 1, True)
    assert shape['gates-spatial'] == (0, 3, 0, 1, 1, 1, True)
    assert shape['gates-both'] == (3, 3, 0, 1, 1, 1, True)
    assert shape['masks'] == shape['warm-masks'] == (3, 3, 2, 0, 1, 1, False)
    assert shape['masks-plain'] == (3, 3, 2, 0, 1, 0, False)
    assert shape['joint-plain'] == (3, 3, 2, 1, 1, 0, True)
    assert shape['joint-reg'] == (3, 3, 2, 1, 1, 1, False)
    assert shape['boxes'] == (3, 3, 2, 1, 0, 1, False)
    assert shape['boxes-plain'] == shape['boxes-plain-long'] == (3, 3, 2, 1, 0, 0, False)
    balances = {name: parts[-1] for name, parts in built.items()}
    assert balances['masks'] == balances['boxes-plain'] == []
    for name in rows.GROUPS['balance']:
        strategy, = balances[name]
        kind = type(strategy).__name__.lower()
        assert kind == {'joint': 'magnitude', 'dwa': 'dynamicweightaverage', 'random': 'randomweights'}.get(
            name, name.partition('-')[0])
        if kind == 'fixed':
            assert strategy.initial_weights() == dict(box=float(name.partition('-')[2]), mask=1.)


def test_what_others_start_from_is_trained_before_them(ablations, tmp_path):
    run, rows = ablations['run'], ablations['rows']
    left = [('joint', 0), ('warm-joint', 0), ('warm-masks', 0), ('warm-joint', 1), ('masks', 2)]
    assert run.starts_without_weights(left, tmp_path) == [('masks', 0), ('masks', 1)]
    weights = tmp_path / 'masks' / 'seed0' / f'iter_{rows.ITERATIONS}.pth'
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert run.starts_without_weights(left, tmp_path) == [('masks', 1)]


def test_every_row_stands_in_a_table_and_starts_stand_before(ablations):
    rows = ablations['rows']
    order = list(rows.ROWS)
    assert {name for names in rows.GROUPS.values() for name in names} == set(order)
    for name, row in rows.ROWS.items():
        assert row.start is None or order.index(row.start) < order.index(name)


def test_the_report_says_mean_and_spread_of_the_last_point(ablations, tmp_path, monkeypatch):
    report, rows = ablations['report'], ablations['rows']
    rng = np.random.default_rng(0)
    ends = {}
    for name in rows.ROWS:
        for seed in (0, 1, 2)[:2 if name == 'dwa' else 3]:
            curve = [{'iter': i, **{figure: rng.uniform(10, 90) for figure in report.FIGURES}} for i in (125, 250)]
            if name == 'masks':
                curve = [{'iter': p['iter'], 'mIoU': p['mIoU'], 'oIoU': p['oIoU']} for p in curve]
            ends.setdefault(name, []).append(curve[-1])
            folder = tmp_path / 'runs'
            folder.mkdir(exist_ok=True)
            balance = [{'iter': 50, 'balance/weight_box': 1.2, 'balance/weight_mask': 0.8}]
            (folder / f'{name}_seed{seed}.json').write_text(
                json.dumps(dict(row=name, seed=seed, iterations=250, seconds=36, curve=curve, balance=balance)))
    docs = tmp_path / 'docs'
    (docs / 'images').mkdir(parents=True)
    marks = '\n'.join(f'Of {group}:\n<!-- {group} -->\nold\n<!-- end {group} -->' for group in (*rows.GROUPS, 'consistency'))
    for seed, share in ((0, 20.), (1, 30.)):
        maps = [dict(map='backbone 0 gate', N=5, inside=share / 2, area=4., pointing=share + 1, preferred=share + 2)]
        (tmp_path / 'runs' / f'consistency_joint_{seed}.json').write_text(
            json.dumps(dict(row='joint', seed=seed, maps=maps)))
    (docs / 'ablations.md').write_text(f'# Ablations\n\n{marks}\n\nThe end.\n')
    monkeypatch.setattr(sys, 'argv', ['report.py', '--results', str(tmp_path / 'runs'), '--docs', str(docs)])
    report.main()
    page = (docs / 'ablations.md').read_text()
    assert 'old' not in page and page.startswith('# Ablations') and page.endswith('The end.\n')
    line, = [line for line in page.splitlines() if line.startswith('| `dwa`')]
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    assert cells[2:4] == [str(rows.ITERATIONS), '2']
    for cell, figure in zip(cells[4:], report.FIGURES):
        values = [end[figure] for end in ends['dwa']]
        spread = abs(values[0] - values[1]) / 2**0.5
        assert cell == f'{sum(values) / 2:.1f} ± {spread:.1f}'
    line = next(line for line in page.splitlines() if line.startswith('| `masks`'))
    assert [cell.strip() for cell in line.strip('|').split('|')][4:6] == ['', '']
    assert '| backbone 0 gate | 27.0 / 26.0 / 12.5 |' in page and 'cover 4.0 %' in page
    pictures = {path.name for path in (docs / 'images').iterdir()}
    assert pictures == {f'ablations-{name}.png' for name in (*rows.GROUPS, 'sweep', 'weights')}
