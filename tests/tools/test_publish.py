"""Publishing the weights of a training, and reading them again everywhere that weights are read."""

import json
from pathlib import Path

import pytest
import torch
from helpers.main_job import CONFIG, options, test, train
from helpers.tools import load_tool
from mmengine.config import Config
from mmengine.registry import DefaultScope
from safetensors import safe_open

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.utils.errors import UserError

publish = load_tool('publish')
COMMAND = 'python tools/train.py configs/uniqrnet_swin-nano_refshapes.py'


def changes(data: Path, name: str, *more: str) -> list[str]:
    return ['--cfg-options', *options(data, name, 2), 'train_cfg.val_interval=99', f'visualizer.name={name}', *more]


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory) -> Path:
    """Two steps with averaged weights, each step saved."""
    work_dir = tmp_path_factory.mktemp('runs') / 'averaged'
    train.main(
        [
            CONFIG,
            '--work-dir',
            str(work_dir),
            *changes(
                data,
                'averaged',
                'default_hooks.checkpoint.interval=1',
                'default_hooks.ema.type=EMAHook',
                'default_hooks.ema.momentum=0.5',
                'test_evaluator.refuse_below=0.01',
            ),
        ]
    )
    DefaultScope._instance_dict.clear()
    return work_dir


@pytest.fixture(scope='module')
def published(trained) -> Path:
    path = trained / 'nano.safetensors'
    report = dict(
        written_by='mmuniqrnet.evaluation.report/1',
        facts=dict(checkpoint='/home/me/x.pth'),
        rows=[dict(set='refshapes/val', mIoU=12.5)],
    )
    (trained / 'results.json').write_text(json.dumps(report))
    publish.main(
        [str(trained / 'iter_2.pth'), str(path), '--command', COMMAND, '--results', str(trained / 'results.json')]
    )
    return path


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework='pt') as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dict)


def test_the_averaged_weights_are_published(trained, published):
    steps = [torch.load(trained / f'iter_{i}.pth', weights_only=False) for i in (1, 2)]
    # EMAHook keeps what the optimiser works on as 'ema_state_dict'; the average of two steps is their middle.
    first, second = (
        {name.removeprefix('module.'): value for name, value in step['ema_state_dict'].items()} for step in steps
    )
    given = weights_of(published)
    assert set(given) == set(steps[1]['state_dict'])
    floats = [name for name, value in given.items() if value.is_floating_point()]
    for name in floats:
        assert torch.allclose(given[name], (first[name] + second[name]) / 2, atol=1e-6), name
    assert sum(not torch.allclose(given[name], second[name], atol=1e-6) for name in floats) > 100


def test_it_says_what_made_it_and_nothing_of_the_machine(published, data):
    with safe_open(published, framework='pt') as file:
        words = file.metadata()
    assert set(words) == {'config', 'command', 'seed', 'figures', 'weights', 'mmuniqrnet_version'}
    assert words['command'] == COMMAND and words['seed'] == '3' and 'EMA' in words['weights']
    assert json.loads(words['figures']) == [dict(set='refshapes/val', mIoU=12.5)]
    assert not any(str(part) in text for text in words.values() for part in (data, published.parent, '/home/me'))
    assert '_base_' not in words['config'] and 'refuse_below=0.01' in words['config']


def words_in(path: Path) -> set[str]:
    with safe_open(path, framework='pt') as file:
        return set(file.metadata()['words'].split())


def test_words_of_the_training_text_and_what_it_was_made_for_are_kept(trained, data, tmp_path, capsys):
    checkpoint = str(trained / 'iter_2.pth')
    publish.main([checkpoint, str(tmp_path / 'a.safetensors'), '--words-from-data', '--made-for', 'shapes'])
    refs = json.loads((data / 'refs.json').read_text())
    texts = [sentence['raw'] for ref in refs if ref['split'] == 'train' for sentence in ref['sentences']]
    assert words_in(tmp_path / 'a.safetensors') == {word.strip(',') for text in texts for word in text.split()}
    assert 'the file does not tell: command, results (--command, --results)' in capsys.readouterr().out
    (tmp_path / 'texts.txt').write_text('\ufeffthe red cup,\nthe Dog', encoding='utf-8')
    publish.main([checkpoint, str(tmp_path / 'b.safetensors'), '--words', str(tmp_path / 'texts.txt')])
    assert words_in(tmp_path / 'b.safetensors') == {'the', 'red', 'cup', 'Dog'}
    ask = UniQRNetInferencer(weights=tmp_path / 'a.safetensors', device='cpu', show_progress=False)
    assert ask.made_for == 'shapes' and ask.read('the giraffe').unknown == ['giraffe']


def test_words_of_the_training_data_need_no_mask_files(tmp_path):
    cfg = Config.fromfile(CONFIG)
    line = dict(image='a.png', expressions=['the red cup', 'the Dog'], bbox=[0, 0, 8, 6], mask='is_not_there.png')
    (tmp_path / 'own.jsonl').write_text(json.dumps(line))
    cfg.train_dataloader.dataset = dict(
        type='ReferJsonlDataset', ann_file=str(tmp_path / 'own.jsonl'), check_images=False
    )
    cfg.dump(tmp_path / 'own.py')
    torch.save(dict(state_dict=dict(weight=torch.zeros(2)), meta={}), tmp_path / 'a.pth')
    target = tmp_path / 'a.safetensors'
    publish.main([str(tmp_path / 'a.pth'), str(target), '--config', str(tmp_path / 'own.py'), '--words-from-data'])
    assert words_in(target) == {'the', 'red', 'cup', 'Dog'}


def test_the_old_name_of_results_works_with_a_note(trained, published, tmp_path, capsys):
    target = tmp_path / 'old.safetensors'
    publish.main([str(trained / 'iter_2.pth'), str(target), '--figures', str(trained / 'results.json')])
    assert 'note: --figures is now --results' in capsys.readouterr().err
    with safe_open(target, framework='pt') as old, safe_open(published, framework='pt') as new:
        assert old.metadata()['figures'] == new.metadata()['figures']


def test_it_answers_without_anything_else(published, trained, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = next((data / 'images' / 'val').glob('*.png'))
    ours = UniQRNetInferencer(weights=published, show_progress=False)
    theirs = UniQRNetInferencer(CONFIG, trained / 'iter_2.pth', show_progress=False)
    found, expected = (ask(image, ['heart', 'the top one'])['predictions'] for ask in (ours, theirs))
    assert found == [one | dict(model=str(published)) for one in expected] and ours.refuse_below == 0.01


def test_half_the_size_and_almost_the_same_answers(trained, published, data, tmp_path):
    publish.main([str(trained / 'iter_2.pth'), str(tmp_path / 'half.safetensors'), '--half'])
    whole, half = weights_of(published), weights_of(tmp_path / 'half.safetensors')
    assert (tmp_path / 'half.safetensors').stat().st_size < 0.55 * published.stat().st_size
    for name, value in whole.items():
        assert half[name].dtype == (torch.float16 if value.ndim > 1 and value.is_floating_point() else value.dtype)
        assert torch.allclose(half[name].to(value.dtype), value, rtol=1e-3, atol=1e-7), name
    image = next((data / 'images' / 'val').glob('*.png'))
    asked = [
        UniQRNetInferencer(weights=path, show_progress=False) for path in (published, tmp_path / 'half.safetensors')
    ]
    assert all(p.dtype == torch.float32 for p in asked[1].model.parameters())
    one, other = (ask(image, 'heart')['predictions'][0] for ask in asked)
    assert abs(one['score'] - other['score']) < 0.01
    big = dict(state_dict={'a.weight': torch.full((2, 2), 1e6)}, meta=dict(cfg=asked[0].cfg.pretty_text))
    torch.save(big, tmp_path / 'big.pth')
    with pytest.raises(UserError, match='a.weight has values beyond the range of float16'):
        publish.main([str(tmp_path / 'big.pth'), str(tmp_path / 'big.safetensors'), '--half'])


def test_the_test_tool_and_load_from_read_it(published, trained, data, tmp_path):
    metrics = {}
    for path in (published, trained / 'iter_2.pth'):
        name = f'tested_{path.suffix[1:]}'
        metrics[name] = test.main([CONFIG, str(path), '--work-dir', str(tmp_path / name), *changes(data, name)])
        DefaultScope._instance_dict.clear()
    assert metrics['tested_safetensors'] == metrics['tested_pth']
    train.main(
        [
            CONFIG,
            '--work-dir',
            str(tmp_path / 'tuned'),
            *changes(
                data,
                'tuned',
                f'load_from={published}',
                'default_hooks.checkpoint.interval=1',
                'optim_wrapper.optimizer.lr=0.0',
                'train_cfg.max_iters=1',
                'optim_wrapper.optimizer.weight_decay=0.0',
            ),
        ]
    )
    tuned = torch.load(tmp_path / 'tuned' / 'iter_1.pth', weights_only=False)['state_dict']
    assert all(torch.equal(tuned[name], value) for name, value in weights_of(published).items())


@pytest.mark.parametrize('arguments', [['--resume', '{}'], ['--cfg-options', 'resume=True', 'load_from={}']])
def test_a_training_can_not_be_resumed_from_it(arguments, published):
    with pytest.raises(UserError, match='nano.safetensors holds weights alone'):
        train.main([CONFIG, *(argument.format(published) for argument in arguments)])


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['iter_2.pth', 'x.pth'], 'published weights are safetensors'),
        (['iter_2.pth', 'nano.safetensors'], 'nano.safetensors exists already'),
        (['gone.pth', 'x.safetensors'], 'there is no checkpoint gone.pth'),
        (['bare.pth', 'x.safetensors'], 'bare.pth does not hold its config; give the one'),
        (['iter_2.pth', 'x.safetensors', '--results', 'gone.json'], 'there is no results file gone.json'),
        (['iter_2.pth', 'x.safetensors', '--results', 'iter_2.pth'], 'iter_2.pth is not JSON'),
        (['iter_2.pth', 'x.safetensors', '--results', 'other.json'], 'other.json is not a report of mmuniqrnet'),
        (['iter_2.pth', 'x.safetensors', '--config', 'gone.py'], 'there is no config gone.py'),
        (['iter_2.pth', 'x.safetensors', '--words', 'gone.txt'], 'there is no file gone.txt'),
        (['iter_2.pth', 'x.safetensors', '--words', 'empty.txt'], 'empty.txt has no words'),
        (['iter_2.pth', 'x.safetensors', '--words', 'iter_2.pth'], 'iter_2.pth cannot be read as text'),
        (['nano.safetensors', 'x.safetensors', '--words-from-data'], 'has no train_dataloader.dataset'),
    ],
)
def test_bad_arguments_of_publish(arguments, words, trained, published, monkeypatch):
    monkeypatch.chdir(trained)
    (trained / 'other.json').write_text('[1]')
    (trained / 'empty.txt').write_text(' ?\n')
    torch.save(torch.load('iter_2.pth', weights_only=False)['state_dict'], 'bare.pth')
    with pytest.raises(UserError, match=words):
        publish.main(arguments)
    assert not (trained / 'x.safetensors').exists()
