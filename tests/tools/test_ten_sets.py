"""All evaluation sets of a config in one go, through tools/test.py: the ten of the literature, corrected labels."""

import json
import pickle
from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers.config_samples import make_data, reduce
from helpers.main_job import test as tool
from helpers.paths import ROOT
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope

from mmuniqrnet.registry import MODELS

SETS = [
    'refcoco/val',
    'refcoco/testA',
    'refcoco/testB',
    'refcoco+/val',
    'refcoco+/testA',
    'refcoco+/testB',
    'refcocog_umd/val',
    'refcocog_umd/test',
    'refcocog_google/val',
    'referit/test',
]


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return make_data(tmp_path_factory.mktemp('ten_sets'))


def count(data: Path) -> Counter:
    """Expressions per set, from the files."""
    counts = Counter()
    for name, author, dataset in (
        ('refcoco', 'unc', 'refcoco'),
        ('refcoco+', 'unc', 'refcoco+'),
        ('refcocog', 'umd', 'refcocog_umd'),
        ('refcocog', 'google', 'refcocog_google'),
    ):
        for ref in pickle.loads((data / name / f'refs({author}).p').read_bytes()):
            counts[f'{dataset}/{ref["split"]}'] += len(ref['sentences'])
    queries = json.loads((data / 'referit' / 'referit_query_test.json').read_text())
    counts['referit/test'] = sum(map(len, queries.values()))
    return counts


def test_one_table_with_a_row_a_set(data, tmp_path, capsys):
    cfg = reduce(Config.fromfile(ROOT / 'configs' / 'eval_all_uniqrnet_swin-b.py'), data)
    cfg.test_dataloader.batch_size = 5  # sets meet within a batch
    cfg.visualizer.name = 'test_ten_sets'  # one of a name lives as long as the process
    cfg.dump(tmp_path / 'config.py')
    init_default_scope('mmuniqrnet')
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta={}), tmp_path / 'epoch_1.pth')
    DefaultScope._instance_dict.clear()

    tool.main([str(tmp_path / 'config.py'), str(tmp_path / 'epoch_1.pth'), '--work-dir', str(tmp_path / 'work')])
    rows = json.loads((tmp_path / 'work' / 'results.json').read_text())['rows']
    counts = count(data)
    assert [row['set'] for row in rows] == SETS
    assert {row['set']: row['N'] for row in rows} == {name: counts[name] for name in SETS}
    for row in rows:
        assert 0 <= row['Acc@0.5'] <= 100 and 0 < row['text-blind'] <= 100
        assert ('mIoU' in row) == ('oIoU' in row) == (row['set'] != 'referit/test')
    table = capsys.readouterr().out.split('written to')[-2].splitlines()
    assert [line.split()[0] for line in table if line][-len(SETS) :] == SETS
    assert [
        line.split('|')[1].strip()
        for line in (tmp_path / 'work' / 'results.md').read_text().splitlines()
        if line.startswith('| ref')
    ] == SETS


@pytest.mark.slow
def test_corrected_labels_in_one_table(data, tmp_path):
    pytest.importorskip('pyarrow')
    cfg = reduce(Config.fromfile(ROOT / 'configs' / 'eval_corrected-labels_uniqrnet_swin-b.py'), data)
    cfg.visualizer.name = 'test_corrected_labels'
    cfg.dump(tmp_path / 'config.py')
    init_default_scope('mmuniqrnet')
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta={}), tmp_path / 'epoch_1.pth')
    DefaultScope._instance_dict.clear()

    tool.main([str(tmp_path / 'config.py'), str(tmp_path / 'epoch_1.pth'), '--work-dir', str(tmp_path / 'work')])
    rows = json.loads((tmp_path / 'work' / 'results.json').read_text())['rows']
    found = {row['set']: row['N'] for row in rows}
    counts = count(data)
    # The files that the data were made with mark one expression of each set as wrong.
    assert {name: n for name, n in found.items() if 'reviewed' in name} == {
        name.replace('/', '_reviewed/'): n - 1
        for name, n in counts.items()
        if name.partition('/')[0] in ('refcoco', 'refcoco+', 'refcocog_umd') and not name.endswith('/train')
    }
    assert found['refcoco-m/val'] == found['ref-l4/val'] == found['ref-l4/test'] == counts['refcoco/val']
    assert {row['set'] for row in rows if 'mIoU' not in row} == {'ref-l4/val', 'ref-l4/test'}
    assert all(0 <= row['Acc@0.5'] <= 100 and 0 < row['text-blind'] <= 100 for row in rows)
