"""UniQRNet with the weights of a published QRNet, and whether its numbers agree with the published ones."""

from collections.abc import Mapping

import torch
from reference.qrnet import QRNetInputs, QRNetOutputs, QRNetSizes
from torch import Tensor, nn

from mmuniqrnet.checkpoints import qrnet
from mmuniqrnet.checkpoints.fit import compare_state_dicts
from mmuniqrnet.models import BoxBranch, QRNetSwin, QueryAwareFusion, UniQRNet, UniQRNetHead, VisualLinguisticEncoder
from mmuniqrnet.structures import TextFeatures


def build_uniqrnet(sizes: QRNetSizes) -> UniQRNet:
    """Our network of these sizes, without a text encoder, whose output is an input of the published numbers."""
    gates = dict(
        text_dim=sizes.text_dim,
        gate_rank=sizes.rank,
        gate_reduction=sizes.reduction,
        channel_gate=sizes.channel_gate,
        spatial_gate=sizes.spatial_gate,
    )
    return UniQRNet(
        text_encoder=nn.Identity(),
        backbone=QRNetSwin(
            embed_dims=sizes.embed_dims,
            depths=sizes.depths,
            num_heads=sizes.num_heads,
            window_size=sizes.window,
            **gates,
        ),
        neck=QueryAwareFusion(sizes.stage_channels, sizes.neck_channels, **gates),
        head=UniQRNetHead(
            encoder=VisualLinguisticEncoder(
                sizes.neck_channels,
                sizes.text_dim,
                sizes.width,
                num_layers=sizes.encoder_layers,
                num_heads=sizes.encoder_heads,
                feedforward_dims=sizes.feedforward,
                num_text_tokens=sizes.text_tokens,
                level_sizes=sizes.level_sizes,
            ),
            box_branch=BoxBranch(sizes.width),
        ),
    )


def with_published_weights(sizes: QRNetSizes, published: Mapping[str, Tensor], dtype: torch.dtype) -> UniQRNet:
    """Our network with published weights, through the converter, which has to know every one of them."""
    model = build_uniqrnet(sizes).eval()
    converted = qrnet.to_uniqrnet(published)
    assert not converted.left_out and not converted.unexpected
    fit = compare_state_dicts(converted.state, model.state_dict(), new=())
    assert not fit.missing and not fit.mismatched
    # A gate that is switched off has no place in the model, whether or not the file has its weights.
    switched_off = [
        gate for gate, on in (('.channel.', sizes.channel_gate), ('.spatial.', sizes.spatial_gate)) if not on
    ]
    assert all(any(gate in name for gate in switched_off) for name in fit.unexpected)
    model = model.to(dtype)  # before the weights, which it would round
    model.load_state_dict({name: converted.state[name] for name in fit.matched}, strict=False)
    return model


def compute(model: UniQRNet, inputs: QRNetInputs) -> QRNetOutputs:
    """What our network makes of the inputs, in the shape of the published outputs."""
    text = TextFeatures(inputs.text_features, inputs.text_features[:, 0], inputs.text_padding_mask)
    features = model.extract_maps(inputs.image, text, inputs.image_padding_mask)
    joint = model.head.encoder(features.levels, text, inputs.image_padding_mask)
    visual = [x.flatten(2).transpose(1, 2) for x in joint.maps]
    sequence = torch.cat([joint.reg[:, None], joint.text, *visual], dim=1).transpose(0, 1)
    boxes = model.head.box_branch(joint.reg)
    return QRNetOutputs(list(features.stages), list(features.levels), sequence, boxes)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter's gradient under our name, in our order of the channels; zero where the loss does not reach."""
    grads = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in model.named_parameters()}
    return grads if isinstance(model, UniQRNet) else qrnet.to_uniqrnet(grads).state


def one_vector(tensors: Mapping[str, Tensor]) -> Tensor:
    """All numbers of the tensors, in the order of their names."""
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


def distance(one: Tensor, other: Tensor) -> float:
    """The largest difference of any two numbers."""
    assert one.shape == other.shape
    return (one.detach().double() - other.detach().double()).abs().max().item()


def assert_same(ours: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> None:
    """Two calculations in float64 are the same: every tensor to 1e-9 of its largest number."""
    assert set(ours) == set(reference)
    largest = max(x.abs().max().item() for x in reference.values())
    for name, wanted in reference.items():
        assert ours[name].dtype == wanted.dtype == torch.float64
        # The floor, far below the rounding of anything that matters, is for gradients that are zero but for rounding.
        limit = 1e-9 * wanted.abs().max().item() + 1e-15 * largest
        assert distance(ours[name], wanted) <= limit, name


def assert_no_further_off(value: Tensor, exact: Tensor, rounding: float, what: str, times: float = 3) -> None:
    """Numbers computed in float32 are about as exact as others of the same formulas.

    All are compared with a calculation in float64, since each has a rounding error of its own, which grows on its way
    through the network. ``value`` may be off ``times`` as far as the others, plus 1e-6 of the largest number.

    Args:
        value: The numbers.
        exact: The same in float64.
        rounding: How far off the others are at most.
        what: The numbers' name.
        times: How many times as far.
    """
    assert value.dtype == torch.float32 and exact.dtype == torch.float64
    error, largest = distance(value, exact), exact.abs().max().item()
    assert error <= times * rounding + 1e-6 * largest, f'{what}: off by {error:.3g}, where rounding is {rounding:.3g}'
