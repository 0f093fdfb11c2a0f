import json
from pathlib import Path

import pytest

from mmuniqrnet.cli import main
from mmuniqrnet.datasets.refshapes import make_refshapes

CONFIG = str(Path(__file__).parents[2] / 'configs' / 'uniqrnet_swin-nano_refshapes.py')

# With the values that are the defaults, where there are any: they have no effect either.
OF_PREDICTIONS = {
    '--out': 'prefix',
    '--protocol': 'original',
    '--layout': 'xyxy',
    '--units': 'pixels',
    '--refuse-below': '0',
}


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('score') / 'refshapes'
    make_refshapes(str(root), num_images=dict(train=2, val=4, testA=2, testB=2), workers=1)
    return ['--data', CONFIG, '--part', 'val', '--cfg-options', f'val_dataloader.dataset.data_root={root}']


def test_a_system_is_asked_scored_and_compared(data, tmp_path, capsys):
    assert run('score', '--questions', tmp_path / 'ask.jsonl', *data) == 0
    asked = [json.loads(line) for line in (tmp_path / 'ask.jsonl').read_text().splitlines()]
    assert f'{len(asked)} expressions' in capsys.readouterr().out and Path(asked[0]['img_path']).is_file()
    for name, rows in (('all', asked), ('most', asked[1:])):
        whole = [dict(row, box=[0, 0, 1000, 1000]) for row in rows]
        (tmp_path / f'{name}.jsonl').write_text('\n'.join(map(json.dumps, whole)))
        options = ['--units', 'thousandths', '--out', tmp_path / name]
        assert run('score', tmp_path / f'{name}.jsonl', *options, *data) == 0
    told = capsys.readouterr().out
    assert 'text-blind' in told and f'1 expressions have no line in {tmp_path / "most.jsonl"}' in told
    files = [tmp_path / f'{name}_refshapes_val.jsonl' for name in ('all', 'most')]
    assert run('compare', *files) == 0
    told = capsys.readouterr().out
    assert f'{len(asked)} expressions' in told and 'Acc@0.5' in told and '95 % from' in told


def test_misuse_is_one_sentence(data, tmp_path):
    assert 'give either PREDICTIONS.jsonl to score, or --questions' in run('score', *data)
    (tmp_path / 'there.jsonl').touch()
    assert 'exists already' in run('score', '--questions', tmp_path / 'there.jsonl', *data)
    for option, value in OF_PREDICTIONS.items():
        said = run('score', '--questions', tmp_path / 'new.jsonl', option, value, *data)
        assert f'{option} has no effect with --questions' in said and not (tmp_path / 'new.jsonl').exists()
    assert 'does not exist' in run('score', tmp_path / 'no.jsonl', *data)
    assert '--refuse-below nan: a threshold of scores is a finite number' in run(
        'score', tmp_path / 'no.jsonl', '--refuse-below', 'nan', *data
    )
    assert '--resamples 3: it must be at least 100' in run('compare', 'a', 'b', '--resamples', 3)
