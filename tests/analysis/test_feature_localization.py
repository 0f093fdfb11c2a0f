import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmuniqrnet.analysis.feature_localization import Consistency, measure, summarise


def masks_of(*spans: tuple[slice, slice]) -> list[np.ndarray]:
    masks = []
    for rows, columns in spans:
        mask = np.zeros((6, 8), bool)
        mask[rows, columns] = True
        masks.append(mask)
    return masks


LEFT, RIGHT = (slice(1, 4), slice(0, 2)), (slice(1, 5), slice(5, 8))


def test_a_map_that_is_the_same_everywhere_has_the_masks_share_of_the_image():
    masks = masks_of(LEFT, RIGHT)
    found = measure(np.full((6, 8), 0.3), masks, 1)
    assert found.inside == pytest.approx(12 / 48) and found.area == pytest.approx(12 / 48)


def test_against_a_calculation_pixel_by_pixel():
    rng = np.random.default_rng(0)
    masks = masks_of(LEFT, RIGHT)
    for target in (0, 1):
        energy = rng.random((6, 8)).astype(np.float32)
        pixels = [(y, x) for y in range(6) for x in range(8)]
        within = sum(float(energy[p]) for p in pixels if masks[target][p])
        means = [np.mean([float(energy[p]) for p in pixels if mask[p]]) for mask in masks]
        highest = max(pixels, key=lambda p: energy[p])
        found = measure(energy, masks, target)
        assert found.inside == pytest.approx(within / float(energy.sum()), rel=1e-6)
        assert found.pointing == bool(masks[target][highest])
        assert found.preferred == (means[target] == max(means))


def test_preference_is_of_the_mean_and_not_of_the_sum():
    masks = masks_of(LEFT, RIGHT)
    energy = np.where(masks[0], 1.0, 0.0) + np.where(masks[1], 0.9, 0.0)
    assert energy[masks[1]].sum() > energy[masks[0]].sum()
    assert measure(energy, masks, 0).preferred and not measure(energy, masks, 1).preferred


def test_one_object_alone_is_no_choice_and_a_hidden_one_is_passed_over():
    masks = masks_of(LEFT, (slice(0, 0), slice(0, 0)))
    assert measure(np.ones((6, 8)), masks[:1], 0).preferred is None
    assert measure(np.ones((6, 8)), masks, 0).preferred is None
    with pytest.raises(ValueError, match='is empty'):
        measure(np.ones((6, 8)), masks, 1)


@pytest.mark.parametrize(
    'energy, message',
    [
        (np.zeros((6, 8)), 'more than zero somewhere'),
        (np.full((6, 8), -1.0), 'zero or more everywhere'),
        (np.ones((5, 8)), r'\[6, 8\], but the map is \[5, 8\]'),
    ],
)
def test_what_can_not_be_measured_is_said(energy, message):
    with pytest.raises(ValueError, match=message):
        measure(energy, masks_of(LEFT), 0)


def test_rows_are_means_in_per_cent():
    values = [
        Consistency(0.25, 0.1, True, True),
        Consistency(0.75, 0.3, False, None),
        Consistency(0.5, 0.2, False, False),
    ]
    (row,) = summarise({'gate': values})
    assert row == dict(
        map='gate',
        N=3,
        inside=pytest.approx(50),
        area=pytest.approx(20),
        pointing=pytest.approx(100 / 3),
        preferred=pytest.approx(50),
    )


def test_the_tool_measures_every_map_and_draws(tmp_path, monkeypatch, capsys):
    """On a tiny data set: the gates start at a half everywhere, so inside must be the masks' own share."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import DefaultScope, init_default_scope

    from mmuniqrnet.datasets.refshapes import make_refshapes
    from mmuniqrnet.registry import MODELS

    root = Path(__file__).parents[2]
    monkeypatch.syspath_prepend(str(root / 'tools' / 'analysis_tools'))
    import feature_localization as tool

    make_refshapes(str(tmp_path / 'data'), num_images=dict(val=3), workers=1)
    config = root / 'configs' / 'uniqrnet_swin-nano_refshapes.py'
    init_default_scope('mmuniqrnet')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    rows = tool.main(
        [
            str(config),
            str(tmp_path / 'weights.pth'),
            '--out',
            str(tmp_path / 'out.json'),
            '--pictures',
            str(tmp_path / 'gates'),
            '--images',
            '2',
            '--cfg-options',
            f'test_dataloader.dataset.data_root={tmp_path}/data',
            'test_dataloader.dataset.split=val',
        ]
    )
    by_name = {row['map']: row for row in rows}
    assert list(by_name) == [
        *(f'backbone {i} gate' for i in range(3)),
        'neck 0 gate',
        'neck 1 gate',
        *(f'backbone {i} tokens' for i in range(3)),
        'neck 0 tokens',
        'neck 1 tokens',
        *(f'neck level {i}' for i in range(3)),
    ]
    for name, row in by_name.items():
        if name.endswith('gate'):
            assert row['inside'] == pytest.approx(row['area'], rel=1e-4)
    assert json.loads((tmp_path / 'out.json').read_text()) == rows
    assert len(list((tmp_path / 'gates').glob('*.png'))) == 2
    sys.modules.pop('feature_localization')
    DefaultScope._instance_dict.clear()


def test_the_old_name_of_the_tool_runs_the_new_one_with_a_warning():
    root = Path(__file__).parents[2]
    tool = root / 'tools' / 'analysis_tools' / 'text_consistency.py'
    done = subprocess.run(
        [sys.executable, str(tool), '--help'],
        env=dict(os.environ, PYTHONPATH=str(root)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert '--pictures' in done.stdout
    assert 'text_consistency.py is now feature_localization.py' in done.stderr
