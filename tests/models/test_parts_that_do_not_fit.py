"""A wrong combination of parts is told in one sentence that names the option and the numbers."""

import pytest
import torch
from helpers.head_samples import BOTH
from helpers.tiny_model import (
    CHANNELS,
    DIM,
    backbone_config,
    batch_of,
    encoder_config,
    head_config,
    neck_config,
    text_encoder_config,
    tiny_model,
)

pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')
GUIDANCE = head_config()['pixel_guidance']
MASK = head_config()['mask_branch']


def fpn(**changes) -> dict:
    return dict(type='mmdet.FPN', in_channels=list(CHANNELS), out_channels=DIM, num_outs=5) | changes


WRONG = {
    'fewer levels than the encoder reads': (
        dict(neck=neck_config(num_outs=4), head=head_config(encoder=encoder_config(levels=(3, 4)))),
        r'VisualLinguisticEncoder: levels=\(3, 4\), and the neck gives 4 maps; set num_outs of the neck',
    ),
    'fewer levels than the mask branch reads': (
        dict(head=head_config(mask_branch=dict(MASK, levels=(5, 0)))),
        r'MaskBranch: levels=\(5, 0\), and the neck gives 5 maps',
    ),
    'a level that pixel guidance does not find': (
        dict(head=head_config(pixel_guidance=dict(GUIDANCE, neck_levels=(0, 5)))),
        'PixelGuidance: there is no map neck5; .* here backbone0, .*neck4',
    ),
    'channels of the neck': (
        dict(neck=fpn(out_channels=32)),
        r'VisualLinguisticEncoder was built for maps of in_channels=\[16, 16\], and is given maps of \[32, 32\]',
    ),
    'channels of the mask branch': (
        dict(head=head_config(mask_branch=dict(MASK, in_channels=8))),
        r'MaskBranch was built for maps of in_channels=\[8, 8\], and is given maps of \[16, 16\] channels',
    ),
    'channels of pixel guidance': (
        dict(head=head_config(pixel_guidance=dict(GUIDANCE, neck_channels=8))),
        'PixelGuidance was built for 8 channels of neck0, which has 16; set backbone_channels and neck_channels',
    ),
    'channels of the backbone': (
        dict(neck=neck_config(in_channels=(8, 16, 32, 65))),
        r'QueryAwareFusion was built for maps of in_channels=\[8, 16, 32, 65\], and is given maps of \[8, 16, 32, 64\]',
    ),
    "channels of the backbone, mmdet's neck": (
        dict(neck=fpn(in_channels=[8, 16, 32, 65])),
        r'FPN was built for maps of in_channels=\[8, 16, 32, 65\], and is given maps of \[8, 16, 32, 64\] channels',
    ),
    "number of maps, mmdet's neck": (
        dict(neck=fpn(), backbone=backbone_config(out_indices=(1, 2, 3))),
        r"FPN was built for 4 maps \(in_channels=.* and was given 3; check the backbone's out_indices",
    ),
    'text of the gates': (
        dict(backbone=backbone_config(text_dim=8)),
        'A gate was built for sentence features of text_dim=8, and is given features of width 16; set text_dim',
    ),
    'text of the encoder': (
        dict(head=head_config(encoder=encoder_config(text_dim=8))),
        'VisualLinguisticEncoder: text_dim=8, and the text encoder gives features of width 16; make them equal',
    ),
    'number of tokens': (
        dict(text_encoder=text_encoder_config(max_length=9)),
        'the text encoder gives 9 tokens .its max_length., num_text_tokens is 8; make them equal',
    ),
}


@pytest.mark.parametrize('name', WRONG)
def test_it_is_told_in_one_sentence(name):
    changes, says = WRONG[name]
    model = tiny_model(**changes).train()
    data = model.data_preprocessor(batch_of([BOTH]), True)
    with pytest.raises(ValueError, match=says), torch.no_grad():
        model(**data, mode='loss')
