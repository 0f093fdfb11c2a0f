"""The main job in small: train, save, resume, test, through the tools' own entry points, on a RefShapes made here."""

import json
import math
import pickle
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from helpers.main_job import CONFIG, options, test, train
from mmengine.config import Config

from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError


def run_training(data: Path, work_dir: Path, max_iters: int, *arguments: str) -> dict:
    train.main(
        [
            CONFIG,
            '--work-dir',
            str(work_dir),
            *arguments,
            '--cfg-options',
            *options(data, f'{work_dir.name}_{max_iters}', max_iters),
        ]
    )
    return torch.load(work_dir / f'iter_{max_iters}.pth', weights_only=False)


@pytest.fixture(scope='module')
def straight(data, tmp_path_factory) -> Path:
    work_dir = tmp_path_factory.mktemp('runs') / 'straight'
    run_training(data, work_dir, 4)
    return work_dir


def test_training_changes_the_weights_and_keeps_the_best(straight):
    first, last = (torch.load(straight / f'iter_{i}.pth', weights_only=False)['state_dict'] for i in (2, 4))
    unchanged = [name for name in last if torch.equal(first[name], last[name]) and last[name].is_floating_point()]
    assert not unchanged
    assert all(torch.isfinite(value).all() for value in last.values())
    assert len(list(straight.glob('best_refshapes_val_*.pth'))) == 1
    assert list(straight.glob('*/vis_data/events.out.tfevents*'))


def test_resuming_without_a_checkpoint_starts_from_load_from(data, straight, tmp_path, capsys):
    start = straight / 'iter_4.pth'
    still = [f'load_from={start}', 'optim_wrapper.optimizer.lr=0.0', 'param_scheduler.1.eta_min=0.0']
    train.main(
        [CONFIG, '--work-dir', str(tmp_path / 'job'), '--resume', '--cfg-options', *options(data, 'job', 2), *still]
    )
    assert 'has no checkpoint, so the training starts from the weights of load_from' in capsys.readouterr().out
    before, after = (torch.load(file, weights_only=False) for file in (start, tmp_path / 'job' / 'iter_2.pth'))
    assert after['meta']['iter'] == 2  # not 6: weights are loaded, the training is not continued
    for name, value in before['state_dict'].items():
        assert torch.equal(value, after['state_dict'][name]), name


def test_resuming_from_a_checkpoint_that_is_gone_is_refused(data, tmp_path):
    (tmp_path / 'job').mkdir()
    (tmp_path / 'job' / 'last_checkpoint').write_text(str(tmp_path / 'job' / 'iter_2.pth'))
    with pytest.raises(UserError, match=r'last_checkpoint names .*iter_2.pth, which does not exist'):
        train.main([CONFIG, '--work-dir', str(tmp_path / 'job'), '--resume', '--cfg-options', *options(data, 'job', 2)])


def test_weights_alone_are_not_resumed_from(data, straight, tmp_path):
    torch.save(
        dict(state_dict=torch.load(straight / 'iter_4.pth', weights_only=False)['state_dict']), tmp_path / 'w.pth'
    )
    arguments = [CONFIG, '--work-dir', str(tmp_path / 'job'), '--resume', str(tmp_path / 'w.pth')]
    with pytest.raises(UserError, match=r'w.pth has no meta, message_hub, optimizer, so a training can not be resumed'):
        train.main([*arguments, '--cfg-options', *options(data, 'weights', 6)])


def test_a_checkpoint_is_tested_from_its_address(data, straight, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(SimpleHTTPRequestHandler, directory=str(straight)))
    Thread(target=server.serve_forever, daemon=True).start()
    found = []
    for number, checkpoint in enumerate((f'http://127.0.0.1:{server.server_port}/iter_4.pth', straight / 'iter_4.pth')):
        arguments = [CONFIG, str(checkpoint), '--work-dir', str(tmp_path / str(number))]
        found.append(test.main([*arguments, '--cfg-options', *options(data, f'address{number}', 4)]))
    server.shutdown()
    assert found[0] == found[1]


def equal(one, other) -> bool:
    """Whether two nested states, which may contain tensors, are the same."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_resumed_training_equals_one_never_stopped(data, straight, tmp_path):
    run_training(data, tmp_path / 'stopped', 2)
    resumed = run_training(data, tmp_path / 'stopped', 4, '--resume')
    whole = torch.load(straight / 'iter_4.pth', weights_only=False)
    assert resumed['meta']['iter'] == whole['meta']['iter'] == 4
    for name, value in whole['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][name]), name
    assert equal(resumed['loss_balance'], whole['loss_balance'])


def test_tool_test_prints_and_writes_one_row_a_set(data, straight, tmp_path, capsys):
    checkpoint = next(straight.glob('best_*.pth'))
    metrics = test.main(
        [
            CONFIG,
            str(checkpoint),
            '--work-dir',
            str(tmp_path),
            '--out',
            str(tmp_path / 'answers.pkl'),
            '--show-dir',
            str(tmp_path / 'pictures'),
            '--cfg-options',
            *options(data, 'tested', 4),
        ]
    )
    rows = {row['set']: row for row in json.loads((tmp_path / 'results.json').read_text())['rows']}
    refs = json.loads((data / 'refs.json').read_text())
    printed = capsys.readouterr().out
    for split in ('val', 'testA', 'testB'):
        expressions = sum(len(ref['sentences']) for ref in refs if ref['split'] == split)
        assert rows[f'refshapes/{split}']['N'] == expressions
        assert math.isclose(rows[f'refshapes/{split}']['mIoU'], metrics[f'refshapes/{split}/mIoU'])
        assert 10 < rows[f'refshapes/{split}']['text-blind'] < 50
        assert f'refshapes/{split}' in printed
    answers = pickle.loads((tmp_path / 'answers.pkl').read_bytes())
    assert len(answers) == sum(row['N'] for row in rows.values())
    pictures = [path for path in tmp_path.rglob('*.png') if 'pictures' in path.parts]
    assert pictures and all(path.stat().st_size > 1000 for path in pictures)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['configs/uniqrnet_swin-b_refcoc.py'], 'there is no config .*uniqrnet_swin-b_refcoc.py'),
        ([CONFIG, '--resume', 'nowhere.pth'], '--resume nowhere.pth: there is no such checkpoint'),
    ],
)
def test_bad_arguments_of_train(arguments, message):
    with pytest.raises(UserError, match=message):
        train.main(arguments)


@pytest.mark.parametrize(
    'arguments, message',
    [
        ([CONFIG, 'nowhere.pth'], 'there is no checkpoint nowhere.pth'),
        ([CONFIG, CONFIG, '--out', 'answers.json'], r'the name must end in \.pkl'),
    ],
)
def test_bad_arguments_of_test(arguments, message):
    with pytest.raises(UserError, match=message):
        test.main(arguments)


def test_resuming_does_not_need_the_checkpoint_that_training_started_from(data, tmp_path):
    swin = MODELS.build(dict(Config.fromfile(CONFIG).model.backbone, type='mmuniqrnet.QRNetSwin'))
    torch.save(dict(state_dict=swin.state_dict()), tmp_path / 'swin.pth')
    init = ['model.backbone.init_cfg.type=Pretrained', f'model.backbone.init_cfg.checkpoint={tmp_path / "swin.pth"}']
    job = tmp_path / 'job'
    train.main([CONFIG, '--work-dir', str(job), '--cfg-options', *options(data, 'from_swin', 2), *init])
    (tmp_path / 'swin.pth').unlink()
    train.main([CONFIG, '--work-dir', str(job), '--resume', '--cfg-options', *options(data, 'resumed', 4), *init])
    first, last = (torch.load(job / f'iter_{i}.pth', weights_only=False) for i in (2, 4))
    assert last['meta']['iter'] == 4
    # The config that is saved still says where the training started.
    assert 'swin.pth' in last['meta']['cfg'] and 'swin.pth' in first['meta']['cfg']
