"""Bad input ends in one sentence, whichever library was at work when it was found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmuniqrnet.datasets.refshapes import make_refshapes

ROOT = Path(__file__).resolve().parents[2]
NANO = 'configs/uniqrnet_swin-nano_refshapes.py'


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('errors') / 'refshapes'
    make_refshapes(str(root), num_images=dict(train=2), workers=1)
    return root


@pytest.mark.parametrize(
    'option, sentence',
    [
        ('train_dataloader.dataset.split=trian', "has no split 'trian'; it has 'train'"),
        (
            'train_dataloader.dataset.generate=False train_dataloader.dataset.data_root=nowhere',
            'RefShapes is not in nowhere',
        ),
        ('model.text_encoder.model=no-such-bert', "there is no text model 'no-such-bert'"),
        ('model.backbone.gated_stages=(0,3)', 'gated_stages=(0, 3) names a stage that does not exist'),
    ],
)
def test_train_says_one_sentence(option, sentence, data, tmp_path):
    run = subprocess.run(
        [
            sys.executable,
            ROOT / 'tools' / 'train.py',
            ROOT / NANO,
            '--work-dir',
            tmp_path,
            '--cfg-options',
            *(f'{part}_dataloader.dataset.data_root={data}' for part in ('train', 'val')),
            'val_dataloader.dataset.split=train',
            *option.split(),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, 'HF_HUB_OFFLINE': '1'},
    )
    assert run.returncode == 1
    said = run.stderr.strip().splitlines()[-1]
    assert said.startswith('error: ') and sentence in said
    assert 'Traceback' not in run.stderr
