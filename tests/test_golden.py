"""Agreement with numbers that the published QRNet modules produced, loaded through the converter.

The file's numbers are in float32, and rounding errors grow on their way through the network, so no tolerance here is a
fixed number: our float32 numbers and theirs are both compared with the same calculation in float64. How far off
rounding puts the published formulas is known from the published numbers and from the reference in float32, several
times: an error may be very small by chance.
"""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.published_qrnet import (
    assert_no_further_off,
    assert_same,
    compute,
    distance,
    gradients,
    with_published_weights,
)
from reference.qrnet import QRNet, QRNetInputs, QRNetOutputs, QRNetSizes, l1_loss
from torch import Tensor, nn

from mmuniqrnet.checkpoints import qrnet


def reference_qrnet(sizes: QRNetSizes, state: dict[str, Tensor], dtype: torch.dtype) -> QRNet:
    """The transcription of the formulas with the file's weights."""
    model = QRNet(sizes).to(dtype)
    fit = model.load_state_dict(state, strict=False)
    assert not fit.missing_keys
    assert all('Gate' in name for name in fit.unexpected_keys)  # of gates that the file's config switches off
    return model


def run(model: nn.Module, forward, inputs: QRNetInputs, targets: Tensor) -> SimpleNamespace:
    """Outputs, L1 loss and its gradients, all in the dtype of the inputs."""
    outputs = forward(inputs)
    loss = l1_loss(outputs.boxes, targets.to(outputs.boxes.dtype))
    model.zero_grad()
    loss.backward()
    found = {name: gradient.clone() for name, gradient in gradients(model).items()}
    return SimpleNamespace(outputs=outputs.named(), loss=loss.detach(), gradients=found)


def last_bit_moved(inputs: QRNetInputs, seed: int) -> QRNetInputs:
    """The same inputs to the precision of float32, so that rounding takes another course."""
    noise = torch.randn(inputs.image.shape, generator=torch.Generator().manual_seed(seed))
    return inputs._replace(image=inputs.image * (1 + 6e-8 * noise))


@pytest.fixture(scope='module')
def golden(golden_file: Path) -> SimpleNamespace:
    """The file, and what ours and the reference make of its weights and inputs."""
    data = torch.load(golden_file, map_location='cpu', weights_only=True)
    sizes, state, targets = QRNetSizes.of_golden(data['config']), data['state_dict'], data['target_cxcywh']
    inputs = QRNetInputs(*(data[name] for name in QRNetInputs._fields))
    ours, ours_exact = (with_published_weights(sizes, state, dtype) for dtype in (torch.float32, torch.float64))
    reference, reference_exact = (reference_qrnet(sizes, state, dtype) for dtype in (torch.float32, torch.float64))
    exact_inputs = inputs.to(torch.float64)
    published = QRNetOutputs(data['stage_outputs'], data['neck_outputs'], data['encoder_output'], data['boxes_cxcywh'])
    return SimpleNamespace(
        data=data,
        model=ours,
        published=published.named(),
        ours=run(ours, lambda x: compute(ours, x), inputs, targets),
        exact=run(ours_exact, lambda x: compute(ours_exact, x), exact_inputs, targets),
        reference=[
            run(reference, reference, x, targets) for x in (inputs, *(last_bit_moved(inputs, i) for i in range(3)))
        ],
        reference_exact=run(reference_exact, reference_exact, exact_inputs, targets),
    )


def rounding_of_the_reference(golden: SimpleNamespace, name: str) -> float:
    return max(distance(x.outputs[name], golden.reference_exact.outputs[name]) for x in golden.reference)


def test_golden_outputs_are_as_exact_as_the_published_ones(golden: SimpleNamespace) -> None:
    assert set(golden.published) == set(golden.ours.outputs)
    for name, published in golden.published.items():
        exact = golden.exact.outputs[name]
        rounding = max(distance(published, exact), rounding_of_the_reference(golden, name))
        assert_no_further_off(golden.ours.outputs[name], exact, rounding, name)


def test_golden_outputs_published_are_what_our_formulas_give(golden: SimpleNamespace) -> None:
    """A wrong formula of ours puts the published numbers further off than rounding can."""
    for name, published in golden.published.items():
        exact = golden.exact.outputs[name]
        rounding = max(distance(golden.ours.outputs[name], exact), rounding_of_the_reference(golden, name))
        assert_no_further_off(published, exact, rounding, f'published {name}', times=10)


def test_golden_loss(golden: SimpleNamespace) -> None:
    """The L1 loss adds up four numbers of a box, so it may be off four times as far as boxes are."""
    boxes = golden.exact.outputs['boxes']
    limit = 4 * (3 * distance(golden.published['boxes'], boxes) + 1e-6 * boxes.max().item())
    assert abs(golden.ours.loss.item() - golden.exact.loss.item()) <= limit
    assert abs(float(golden.data['loss_l1']) - golden.exact.loss.item()) <= limit


def test_golden_gradient_norms(golden: SimpleNamespace) -> None:
    """The file has a norm for every parameter; counted is the one that is furthest off, in relation to its size."""
    published = {qrnet.QRNET.forward(name): norm or 0.0 for name, norm in golden.data['grad_norms'].items()}
    exact = golden.exact.gradients
    assert {name for name, norm in published.items() if norm} <= set(exact) <= set(published)
    floor = 1e-9  # for gradients that are zero but for rounding

    def in_relation(found: dict, truth: dict = golden.exact.gradients) -> Tensor:
        norms = [(torch.as_tensor(found[name]).double().norm(), truth[name].norm()) for name in exact]
        return torch.stack([(norm + floor) / (wanted + floor) for norm, wanted in norms]).float()

    ones = torch.ones(len(exact), dtype=torch.float64)
    ours, theirs = in_relation(golden.ours.gradients), in_relation(published)
    reference = [in_relation(x.gradients, golden.reference_exact.gradients) for x in golden.reference]
    rounding = max(distance(x, ones) for x in reference)
    assert_no_further_off(ours, ones, max(rounding, distance(theirs, ones)), 'gradient norms')
    assert_no_further_off(theirs, ones, max(rounding, distance(ours, ones)), 'published gradient norms', times=10)


def test_golden_reference_and_ours_are_one_calculation(golden: SimpleNamespace) -> None:
    assert_same(golden.exact.outputs, golden.reference_exact.outputs)
    assert_same(golden.exact.gradients, golden.reference_exact.gradients)


def test_golden_box_loss_of_the_head_is_the_published_one(golden: SimpleNamespace) -> None:
    boxes = golden.published['boxes']
    targets = SimpleNamespace(boxes=golden.data['target_cxcywh'], has_box=torch.ones(len(boxes)))
    losses = golden.model.head.box_losses(boxes, targets)
    # From the same float32 boxes: nothing rounds but a sum of a few numbers below one.
    torch.testing.assert_close(losses['loss_box_l1'].item(), float(golden.data['loss_l1']), rtol=1e-6, atol=1e-6)


def test_golden_weights_go_back_to_the_bit(golden: SimpleNamespace) -> None:
    published = golden.data['state_dict']
    back = qrnet.to_published(qrnet.to_uniqrnet(published).state)
    assert not back.left_out and not back.unexpected
    assert set(back.state) == set(published)
    for name, value in published.items():
        assert back.state[name].dtype == value.dtype
        assert torch.equal(back.state[name], value), name
