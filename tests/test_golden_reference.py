"""Agreement with QRNet's formulas, transcribed in tests/reference, at several sizes: golden numbers in any clone."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.published_qrnet import (
    assert_no_further_off,
    assert_same,
    compute,
    distance,
    gradients,
    one_vector,
    with_published_weights,
)
from reference.qrnet import QRNetSizes, giou_loss, l1_loss, random_inputs, random_qrnet

SMALL = QRNetSizes(
    embed_dims=16,
    depths=(1, 2, 2, 1),
    num_heads=(2, 2, 4, 4),
    text_dim=24,
    neck_channels=32,
    width=32,
    encoder_layers=2,
    encoder_heads=4,
    feedforward=64,
    text_tokens=8,
    canvas=(64, 64),
    reduction=4,
)
CASES = {
    'windows divide every map': replace(SMALL, window=4, canvas=(128, 128)),
    'windows larger than the last maps': replace(SMALL, depths=(2, 2, 2, 2)),
    'odd sizes': replace(SMALL, window=5, canvas=(75, 53)),
    'odd sizes, wide': replace(SMALL, canvas=(36, 100)),
    'published reduction': replace(SMALL, embed_dims=32, reduction=16),
    'channel gates only': replace(SMALL, spatial_gate=False),
    'spatial gates only': replace(SMALL, channel_gate=False, canvas=(100, 70)),
    'no gates': replace(SMALL, channel_gate=False, spatial_gate=False),
}
TARGETS = torch.tensor([[0.5, 0.5, 0.4, 0.3], [0.3, 0.6, 0.2, 0.5]], dtype=torch.float64)


@pytest.fixture(scope='module', params=CASES)
def results(request: pytest.FixtureRequest) -> SimpleNamespace:
    """Outputs and gradients of reference and ours, by dtype, for the same weights and inputs."""
    sizes = CASES[request.param]
    weights = random_qrnet(sizes).state_dict()
    inputs = random_inputs(sizes)
    results = SimpleNamespace(ours={}, reference={})
    for dtype in (torch.float64, torch.float32):
        ours = with_published_weights(sizes, weights, dtype)
        reference = random_qrnet(sizes).to(dtype)
        for model, outputs, side in (
            (ours, compute(ours, inputs.to(dtype)), results.ours),
            (reference, reference(inputs.to(dtype)), results.reference),
        ):
            targets = TARGETS.to(dtype)
            (l1_loss(outputs.boxes, targets) + giou_loss(outputs.boxes, targets)).backward()
            side[dtype] = SimpleNamespace(outputs=outputs.named(), gradients=gradients(model), model=model)
    return results


def test_golden_reference_outputs_and_gradients_are_ours_in_float64(results: SimpleNamespace) -> None:
    ours, reference = results.ours[torch.float64], results.reference[torch.float64]
    assert_same(ours.outputs, reference.outputs)
    assert_same(ours.gradients, reference.gradients)
    assert all(gradient.any() for gradient in reference.gradients.values())  # or it would prove nothing


def test_golden_reference_rounds_no_less_than_ours_in_float32(results: SimpleNamespace) -> None:
    ours, reference = results.ours[torch.float32], results.reference[torch.float32]
    exact = results.reference[torch.float64]
    for name, truth in exact.outputs.items():
        assert_no_further_off(ours.outputs[name], truth, distance(reference.outputs[name], truth), name)
    # As one vector: the error of a gradient of few numbers is very small by chance now and then.
    value, other, truth = (one_vector(x.gradients) for x in (ours, reference, exact))
    assert_no_further_off(value, truth, distance(other, truth), 'gradients')


def test_golden_reference_box_losses_are_the_heads(results: SimpleNamespace) -> None:
    model, boxes = results.ours[torch.float64].model, results.ours[torch.float64].outputs['boxes'].detach()
    losses = model.head.box_losses(boxes, SimpleNamespace(boxes=TARGETS, has_box=torch.ones(2, dtype=torch.float64)))
    # mmdet adds the epsilon of float32 to the number of boxes that it divides by.
    torch.testing.assert_close(losses['loss_box_l1'], l1_loss(boxes, TARGETS), rtol=2e-7, atol=0)
    torch.testing.assert_close(losses['loss_box_giou'], giou_loss(boxes, TARGETS), rtol=2e-7, atol=0)
