import pytest
from helpers.paths import ROOT
from helpers.tools import run_dataset_tool

from mmuniqrnet.analysis import augmented_texts
from mmuniqrnet.datasets.refshapes import make_refshapes
from mmuniqrnet.datasets.transforms import GuardedCrop, RandomFlipWithText
from mmuniqrnet.utils.errors import UserError

TEXTS = ['left cup', 'topleft cup', 'cup', 'third cup', 'center cup']


def test_by_hand():
    published = augmented_texts(TEXTS, [GuardedCrop(), RandomFlipWithText()])
    assert published.total == 5 and published.exchanged == [('left cup', 'right cup')]
    assert published.not_flipped == [] and published.not_cropped == ['left cup', 'topleft cup']
    ours = augmented_texts(TEXTS, [GuardedCrop(words='all'), RandomFlipWithText(words='all')])
    assert ours.exchanged == [('left cup', 'right cup'), ('topleft cup', 'topright cup')]
    assert ours.not_flipped == ['third cup']
    assert ours.not_cropped == ['left cup', 'topleft cup', 'third cup', 'center cup']
    assert augmented_texts(TEXTS, [RandomFlipWithText()]).not_cropped == []


def test_nothing_to_count():
    with pytest.raises(UserError, match='neither GuardedCrop nor RandomFlipWithText'):
        augmented_texts(TEXTS, [])
    with pytest.raises(UserError, match='no expressions'):
        augmented_texts([], [RandomFlipWithText()])


def test_tool(tmp_path, capsys):
    folder = tmp_path / 'refshapes'
    info, _ = make_refshapes(str(folder), num_images=dict(train=4), workers=1)
    config = ROOT / 'configs' / 'uniqrnet_swin-nano_refshapes.py'
    options = ['--cfg-options', f'train_dataloader.dataset.data_root={folder}']
    assert run_dataset_tool('augmented_texts', config, *options) == 0
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row[0] == 'refshapes/train' and int(row[1]) == info['splits']['train']['expressions']
    assert row[4:] == ['0', '0.00', '0', '0.00']  # all are flipped; no crops
    assert run_dataset_tool('augmented_texts', config, '--list', 'exchanged', *options) == 0
    pairs = [line.split('\t') for line in capsys.readouterr().out.splitlines() if '\t' in line]
    assert len(pairs) == int(row[2]) > 0
    for text, other in pairs:
        assert text != other and sorted(text.lower().replace('left', 'right')) == sorted(
            other.lower().replace('left', 'right')
        )
