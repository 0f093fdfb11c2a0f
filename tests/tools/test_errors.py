"""Bad input ends in one sentence, whichever library was at work when it was found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import NANO_CONFIG, ROOT
from helpers.tools import end_of_tool

from mmuniqrnet.config import load_config
from mmuniqrnet.utils.errors import UserError


def arguments(option: str, data: Path, work_dir: Path) -> list[str]:
    return [
        str(NANO_CONFIG),
        '--work-dir',
        str(work_dir),
        '--cfg-options',
        *(f'{part}_dataloader.dataset.data_root={data}' for part in ('train', 'val')),
        'val_dataloader.dataset.split=train',
        *option.split(),
    ]


@pytest.mark.parametrize(
    'option, sentence',
    [
        ('train_dataloader.dataset.split=trian', "has no split 'trian'; it has 'testA', 'testB', 'train', 'val'"),
        (
            'train_dataloader.dataset.generate=False train_dataloader.dataset.data_root=nowhere',
            'RefShapes is not in nowhere',
        ),
        ('custom_hooks.strategy=dwa', 'custom_hooks is a list with the entries 0 to 0'),
        ('custom_hooks.0.strategy=dwaa', "there is no loss balance strategy 'dwaa'"),
        (
            'optim_wrapper.optimizer.type=AdamWW',
            "type is 'AdamWW', which is not registered as optimizer; the nearest name is 'AdamW'",
        ),
        (
            'model.head.mask_branch.type=MaskBranchh',
            "model.head.mask_branch.type is 'MaskBranchh', which is not registered as model; the nearest name is "
            "'MaskBranch'",
        ),
        ('load_from=gone.pth', 'there is no checkpoint gone.pth'),
        ('model.backbone.gated_stages=(0,3)', 'gated_stages=(0, 3) names a stage that does not exist'),
    ],
)
def test_train_says_one_sentence(option, sentence, data, tmp_path):
    said = end_of_tool('train', *arguments(option, data, tmp_path))
    assert isinstance(said, str), 'it ended well'
    assert said.startswith('error: ') and sentence in said and '\n' not in said


def test_train_started_by_itself_says_one_sentence(data, tmp_path):
    """Also where a text model would be downloaded, which needs an environment of its own."""
    run = subprocess.run(
        [
            sys.executable,
            ROOT / 'tools' / 'train.py',
            *arguments('model.text_encoder.model=no-such-bert', data, tmp_path),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, 'HF_HUB_OFFLINE': '1'},
    )
    assert run.returncode == 1
    said = run.stderr.strip().splitlines()[-1]
    assert said.startswith('error: ') and "there is no text model 'no-such-bert'" in said
    assert 'Traceback' not in run.stderr
    assert 'OneDL' not in run.stdout + run.stderr


@pytest.mark.parametrize('text, sentence', [('a = (1,', 'line 1'), ("_base_ = './gone.py'", 'gone.py')])
def test_a_config_that_cannot_be_read_is_named(text, sentence, tmp_path):
    (tmp_path / 'own.py').write_text(text)
    with pytest.raises(UserError, match=f'the config .*own.py cannot be read: .*{sentence}'):
        load_config(str(tmp_path / 'own.py'))
