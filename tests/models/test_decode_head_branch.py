"""mmseg's decode heads as mask branches: what reaches the mask, what is left over, and that they can learn."""

import pytest
import torch
from helpers.head_samples import BOTH, NO_BOX, NO_MASK, branch_inputs
from helpers.tiny_model import CANVAS, DIM, batch_of, head_config, item, rectangle, tiny_model

from mmuniqrnet.models import DecodeHeadMaskBranch

# mmseg's names are not those of the default scope.
pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')

NORM = dict(type='GN', num_groups=4)
COMMON = dict(in_channels=[DIM] * 4, in_index=[0, 1, 2, 3], channels=8, dropout_ratio=0.0, norm_cfg=NORM)
HEADS = {
    'FPNHead': dict(COMMON, feature_strides=[4, 8, 16, 32]),
    'UPerHead': dict(COMMON, pool_scales=(1, 2)),
    'SegformerHead': dict(COMMON),
    # one level, another kind of head
    'ASPPHead': dict(in_channels=DIM, in_index=0, channels=8, dilations=(1, 2), dropout_ratio=0.0, norm_cfg=NORM),
}
THREE = ('FPNHead', 'UPerHead', 'SegformerHead')


def config(name: str, **changes) -> dict:
    return dict(
        type='DecodeHeadMaskBranch',
        embed_dims=DIM,
        in_channels=DIM,
        norm_cfg=NORM,
        decode_head=dict(HEADS[name], type=f'mmseg.{name}') | changes,
    )


def branch(name: str, **changes) -> DecodeHeadMaskBranch:
    torch.manual_seed(0)
    arguments = config(name, **changes)
    arguments.pop('type')
    return DecodeHeadMaskBranch(**arguments).eval()


def model_with(name: str, **changes) -> torch.nn.Module:
    return tiny_model(
        data_preprocessor=dict(type='ReferDataPreprocessor', canvas_size=CANVAS, placement='center'),
        head=head_config(mask_branch=config(name), **changes),
    )


@pytest.mark.parametrize('name', HEADS)
def test_everything_that_says_something_reaches_the_mask_and_nothing_is_left_over(name):
    model, (reg, maps, levels) = branch(name), branch_inputs(requires_grad=True)
    logits = model(reg, maps, levels)
    assert logits.shape == (2, 1, 16, 16)  # stride 4
    logits.square().sum().backward()
    assert all(x.grad is not None and x.grad.any() for x in (reg, *maps))
    read = HEADS[name]['in_index']
    read = [read] if isinstance(read, int) else read
    assert [x.grad is not None and x.grad.any().item() for x in levels] == [i in read for i in range(5)]
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize('name', HEADS)
def test_each_sample_is_read_with_its_own_token_and_by_itself(name):
    model, (reg, maps, levels) = branch(name), branch_inputs()
    logits = model(reg, maps, levels)
    alone = model(reg[1:], [x[1:] for x in maps], [x[1:] for x in levels])
    assert torch.allclose(logits[1:], alone, atol=1e-5)
    assert not torch.allclose(model(reg.flip(0), maps, levels), logits, atol=1e-3)


@pytest.mark.parametrize('name', ['FPNHead', 'ASPPHead'])
def test_logits_are_the_token_s_classifier_on_the_decode_head_s_features(name):
    model, (reg, maps, levels) = branch(name), branch_inputs()
    seen = {}
    model.decode_head.conv_seg.register_forward_hook(lambda module, args, out: seen.update(features=out))
    logits, numbers = model(reg, maps, levels), model.classifier(reg)
    for y, x in ((0, 0), (3, 9), (15, 15)):
        for b in range(2):
            expected = seen['features'][b, :, y, x] @ numbers[b, :8] / 8**0.5 + numbers[b, 8]
            assert torch.allclose(logits[b, 0, y, x], expected, atol=1e-5)


@pytest.mark.parametrize('name', HEADS)
def test_a_joint_training_step_leaves_no_parameter_without_gradient(name):
    """DDP waits for every one of them."""
    model = model_with(name, loss_consistency=dict(type='BoxMaskConsistencyLoss'), box_from_mask=True).train()
    model.init_weights()
    data = model.data_preprocessor(batch_of([BOTH, NO_BOX, NO_MASK]), training=True)
    total, _ = model.parse_losses(model(**data, mode='loss'))
    total.backward()
    assert [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(p.grad.any() for p in model.head.mask_branch.parameters())


def scenes() -> list[dict]:
    """Two objects that differ in brightness, the same in both scenes; the text says which of them is meant."""
    left, right = rectangle(48, 64, 8, 8, 28, 32), rectangle(48, 64, 36, 12, 56, 40)
    pictures = [
        item(text='the white square', boxes=[[8.0, 8.0, 28.0, 32.0]], masks=[left], seed=1),
        item(text='the black circle', boxes=[[36.0, 12.0, 56.0, 40.0]], masks=[right], seed=1),
    ]
    for picture in pictures:
        picture['inputs'] = (picture['inputs'] // 8 + 112).where(torch.from_numpy(left + right) == 0, torch.tensor(0))
        picture['inputs'][:, torch.from_numpy(left) > 0] = 255
    return pictures


@pytest.mark.parametrize('name', THREE)
def test_it_learns_two_masks_by_heart(name):
    model = model_with(name).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(80):
        data = model.data_preprocessor(batch_of(scenes()), training=True)
        total, _ = model.parse_losses(model(**data, mode='loss'))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    answers = model.eval().test_step(batch_of(scenes()))
    for answer, scene in zip(answers, scenes()):
        found = answer.pred_instances.masks[0].numpy()
        truth = scene['data_samples'].gt_instances.masks.masks[0] > 0
        assert (found & truth).sum() / (found | truth).sum() > 0.9


@pytest.mark.parametrize(
    'key, value, says',
    [
        ('loss_decode', dict(type='mmseg.CrossEntropyLoss'), 'UniQRNetHead computes the losses'),
        ('num_classes', 2, 'one class'),
        ('sampler', dict(type='OHEMPixelSampler'), 'without a pixel sampler'),
    ],
)
def test_what_would_be_ignored_is_refused(key, value, says):
    with pytest.raises(ValueError, match=f'remove {key} from the config of mmseg.FPNHead: .*{says}'):
        branch('FPNHead', **{key: value})


def test_a_head_that_does_not_end_in_conv_seg_is_refused():
    bad = dict(type='mmseg.EncHead', in_channels=[DIM] * 3, in_index=[0, 1, 2], channels=8, num_codes=4, norm_cfg=NORM)
    with pytest.raises(ValueError, match='EncHead does not end in one map of features'):
        DecodeHeadMaskBranch(decode_head=bad, embed_dims=DIM, in_channels=DIM, norm_cfg=NORM)
