"""The benchmark of the training step: its names of variants, its time limit, and what it says of a variant it skips."""

import argparse
import json
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))
import training_step
from network_variants import options_of, variant_name


def test_names_of_variants():
    assert options_of(variant_name('ours+half+graph')) == ['half', 'graph']
    for wrong in ('our', 'mmdet+blocks', 'ours+fast', 'ours+blocks+whole'):
        with pytest.raises(argparse.ArgumentTypeError, match='is not transcription, mmdet, or ours with any of'):
            variant_name(wrong)


def test_the_first_variant_is_what_others_are_compared_with(capsys):
    with pytest.raises(SystemExit):
        training_step.parse_args(['--variants', 'ours+half', 'ours'])
    assert 'can not have options: ours+half' in capsys.readouterr().err


def test_a_profile_is_named_by_dtype_and_one_that_fails_leaves_the_row(monkeypatch, tmp_path):
    kinds_of = training_step.kinds_of

    def failing(step, device):
        if calls:
            raise RuntimeError('no profiler')
        calls.append(1)
        return kinds_of(step, device)

    calls: list[int] = []
    monkeypatch.setattr(training_step, 'kinds_of', failing)
    monkeypatch.setattr(training_step, 'cpu_memory', lambda *_: 1.0)
    out = tmp_path / 'figures.json'
    options = ['--device', 'cpu', '--size', 'nano', '--batch', '2', '--rounds', '1', '--json', str(out), '--profile']
    training_step.main([*options, '--variants', 'transcription', 'ours'])
    report = json.loads(out.read_text())
    assert [r['variant'] for r in report['rows']] == ['transcription', 'ours']
    assert [(k['variant'], k['dtype']) for k in report['kinds']] == [('transcription', 'float32')]
    assert [s['why'] for s in report['skipped']] == ['profile: RuntimeError: no profiler']


def test_a_limit_stops_what_takes_longer_and_nothing_later():
    with pytest.raises(TimeoutError, match='not measured within 1 s'), training_step.limited(1):
        time.sleep(5)
    with training_step.limited(1):
        pass
    time.sleep(1.2)


def test_a_variant_that_fails_is_reported_and_the_next_is_measured(monkeypatch, tmp_path):
    row = training_step.Comparison.row

    def failing(self, variant):
        if variant == 'mmdet':
            raise RuntimeError('no memory')
        return row(self, variant)

    monkeypatch.setattr(training_step.Comparison, 'row', failing)
    monkeypatch.setattr(training_step, 'cpu_memory', lambda *_: 1.0)
    out = tmp_path / 'figures.json'
    options = ['--device', 'cpu', '--size', 'nano', '--batch', '2', '--rounds', '1', '--json', str(out)]
    training_step.main([*options, '--modes', 'inference', '--variants', 'transcription', 'mmdet', 'ours+half'])
    report = json.loads(out.read_text())
    assert [r['variant'] for r in report['rows']] == ['transcription', 'ours+half']
    assert report['rows'][0]['ratio'] == 1
    assert [(s['variant'], s['why']) for s in report['skipped']] == [('mmdet', 'RuntimeError: no memory')]
