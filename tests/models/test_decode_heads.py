"""Which of mmseg's decode heads can be the mask branch; the table in docs/composition.md lists them."""

import re

import pytest
import torch
from helpers.composition_samples import parameters_without_gradient
from helpers.head_samples import BOTH, NO_BOX, NO_MASK
from helpers.paths import ROOT
from helpers.tiny_model import DIM, batch_of, head_config, tiny_model
from mmseg.models import decode_heads

from mmuniqrnet.utils.mmcv_ops import mmcv_ops

pytestmark = [
    pytest.mark.usefixtures('mmuniqrnet_scope'),  # mmseg's names are not those of the default scope
    pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``'),
]
NORM = dict(type='GN', num_groups=4)
ONE = dict(in_channels=DIM, in_index=0, channels=8, dropout_ratio=0.0, norm_cfg=NORM)
MANY = dict(ONE, in_channels=[DIM] * 4, in_index=[0, 1, 2, 3])
WORK = {
    'ANNHead': dict(MANY, in_channels=[DIM] * 2, in_index=[0, 1], project_channels=8, dropout_ratio=0.1),
    'APCHead': dict(ONE, pool_scales=(1, 2)),
    'ASPPHead': dict(ONE, dilations=(1, 2)),
    'CCHead': ONE,
    'DMHead': dict(ONE, filter_sizes=(1, 3)),
    'DNLHead': ONE,
    'DepthwiseSeparableASPPHead': dict(ONE, dilations=(1, 2), c1_in_channels=DIM, c1_channels=8),
    'DepthwiseSeparableFCNHead': ONE,
    'EMAHead': dict(ONE, ema_channels=8, num_bases=4, num_stages=1),
    'FCNHead': ONE,
    'FPNHead': dict(MANY, feature_strides=[4, 8, 16, 32]),
    'GCHead': ONE,
    'ISAHead': dict(ONE, isa_channels=8, down_factor=(2, 2)),
    'LightHamHead': dict(MANY, ham_channels=8, ham_kwargs=dict(MD_R=4)),
    'NLHead': ONE,
    'PSAHead': dict(ONE, mask_size=(16, 16)),
    'PSPHead': dict(ONE, pool_scales=(1, 2)),
    'SETRUPHead': ONE,
    'STDCHead': dict(ONE, boundary_threshold=0.1),
    'SegformerHead': MANY,
    'UPerHead': dict(MANY, pool_scales=(1, 2)),
}
REFUSED = {
    'DAHead': (dict(ONE, pam_channels=4), 'DAHead does not end in one map of features'),
    'DDRHead': (ONE, "DDRHead fails on the levels .*'list' object has no attribute"),
    'EncHead': (
        dict(MANY, in_channels=[DIM] * 3, in_index=[0, 1, 2], num_codes=4),
        'does not end in one map of features',
    ),
    'OCRHead': (
        dict(ONE, ocr_channels=8),
        "OCRHead fails on the levels .* 'prev_output'.; correct its config, or choose",
    ),
    'PointHead': (ONE, 'PointHead cannot be built .AssertionError'),
    'SETRMLAHead': (dict(MANY, mla_channels=4, channels=16), 'SETRMLAHead fails on the levels .*Sizes of tensors'),
    'SegmenterMaskTransformerHead': (
        dict(in_channels=DIM, in_index=0, channels=1, num_layers=1, num_heads=2, embed_dims=8),
        'has no conv_seg',
    ),
}


def model_with(name: str, options: dict) -> torch.nn.Module:
    branch = dict(type='DecodeHeadMaskBranch', embed_dims=DIM, in_channels=DIM, norm_cfg=NORM)
    return tiny_model(head=head_config(mask_branch=branch | dict(decode_head=dict(options, type=f'mmseg.{name}'))))


@pytest.mark.parametrize('name', WORK)
def test_it_trains_and_predicts(name):
    if name == 'PSAHead' and mmcv_ops() != 'compiled':
        pytest.skip('needs mmcv with compiled ops: `make env OPS=1`')
    model = model_with(name, WORK[name])
    assert parameters_without_gradient(model, batch_of([BOTH, NO_BOX, NO_MASK])) == []
    for sample in model.eval().val_step(batch_of([BOTH])):
        assert sample.pred_instances.masks.shape == (1, 48, 64)


@pytest.mark.parametrize('name', REFUSED)
def test_it_is_refused_in_one_sentence(name):
    options, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        model_with(name, options)


def test_channels_that_do_not_fit_are_refused_when_it_is_built():
    with pytest.raises(ValueError, match='FCNHead fails on the levels of the neck, which have 16 channels each'):
        model_with('FCNHead', dict(ONE, in_channels=32))


def test_the_documentation_lists_every_decode_head_of_mmseg():
    page = (ROOT / 'docs' / 'composition.md').read_text()
    rows = page[page.index('## Decode heads') :].split('\n## ')[0]
    named = set(re.findall(r'`(\w+Head)`', rows))
    assert named == {name for name in decode_heads.__all__ if name.endswith('Head')}
    works = rows[: rows.index('do not work')]
    assert set(re.findall(r'`(\w+Head)`', works)) == set(WORK)
