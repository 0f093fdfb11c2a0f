import numpy as np
import pytest
import torch
from torch import nn

from mmuniqrnet.models.backbones import QRNetSwin
from mmuniqrnet.models.gate_recording import gate_maps, maps_on_image, record_gates
from mmuniqrnet.models.layers import DynamicLinear, QueryDynamicAttention
from mmuniqrnet.models.necks import QueryAwareFusion
from mmuniqrnet.structures import Placement

CHANNELS, TEXT_DIM = (8, 16, 32), 12
HEIGHT, WIDTH = 72, 96


class Network(nn.Module):
    def __init__(self, **gates):
        super().__init__()
        self.backbone = QRNetSwin(
            text_dim=TEXT_DIM,
            gate_rank=4,
            gate_reduction=4,
            gated_stages=(0, 1, 2),
            embed_dims=8,
            depths=(1, 1, 1),
            num_heads=(2, 2, 2),
            window_size=4,
            strides=(4, 2, 2),
            out_indices=(0, 1, 2),
            drop_path_rate=0.0,
            **gates,
        )
        gated = gates.get('spatial_gate', True)
        self.neck = QueryAwareFusion(
            in_channels=CHANNELS, out_channels=8, text_dim=TEXT_DIM, num_outs=3, gate_rank=4, gated=gated
        )

    def forward(self, images, sentence):
        return self.neck(self.backbone(images, sentence), sentence)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = Network().eval()
    for part in network.modules():
        if isinstance(part, DynamicLinear):
            nn.init.normal_(part.V, std=0.3)
    return network


def hooks_of(network):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in network.modules())


def test_gates_are_those_that_the_network_multiplied_by(network):
    images, sentence = torch.randn(2, 3, HEIGHT, WIDTH), torch.randn(2, TEXT_DIM)
    through = {}
    for name, part in network.named_modules():
        if isinstance(part, QueryDynamicAttention):
            part.register_forward_hook(lambda _, i, o, name=name: through.update({name: (i[0], o)}))
    with record_gates(network) as recorded:
        network(torch.randn(2, 3, 64, 64), sentence)  # the last forward counts
        network(images, sentence)
    assert sorted(through) == [*(f'backbone.gates.{i}' for i in range(3)), *(f'neck.gates.{i}' for i in range(2))]
    assert sorted(recorded) == sorted(f'{name}.{kind}' for name in through for kind in ('channel', 'spatial'))
    for name, (x, out) in through.items():
        channel, spatial = recorded[f'{name}.channel'], recorded[f'{name}.spatial']
        assert channel.shape == (2, 1, x.shape[2]) and spatial.shape == (2, x.shape[1], 1)
        assert not spatial.requires_grad and spatial.std() > 1e-4
        torch.testing.assert_close(x * channel * spatial, out)


def test_maps_have_the_sizes_of_the_stages(network):
    with record_gates(network) as recorded:
        network(torch.randn(2, 3, HEIGHT, WIDTH), torch.randn(2, TEXT_DIM))
    maps = gate_maps(recorded, (HEIGHT, WIDTH))
    assert {name: tuple(values.shape) for name, values in maps.items()} == {
        'backbone.gates.0': (2, 18, 24),
        'backbone.gates.1': (2, 9, 12),
        'backbone.gates.2': (2, 5, 6),
        'neck.gates.0': (2, 18, 24),
        'neck.gates.1': (2, 9, 12),
    }
    tokens = recorded['backbone.gates.1.spatial']
    assert maps['backbone.gates.1'][1, 3, 7] == tokens[1, 3 * 12 + 7, 0]


def test_nothing_stays_on_the_model(network):
    before = hooks_of(network)
    with record_gates(network):
        assert hooks_of(network) > before
    assert hooks_of(network) == before
    with pytest.raises(KeyError), record_gates(network):
        raise KeyError
    assert hooks_of(network) == before


def test_a_network_without_gates_is_refused():
    with (
        pytest.raises(ValueError, match='has no ChannelGate or SpatialGate'),
        record_gates(Network(channel_gate=False, spatial_gate=False)),
    ):
        pass


def test_tokens_that_are_no_grid_are_refused():
    with pytest.raises(ValueError, match=r'backbone\.gates\.0\.spatial: 17 tokens fit a canvas of 64 x 64'):
        gate_maps({'backbone.gates.0.spatial': torch.zeros(1, 17, 1)}, (64, 64))


def test_maps_come_to_the_pixels_of_the_original_image():
    # an image of 40 x 80 at half that size, at (30, 10) of a canvas of 64 x 64
    placement = Placement(ori_shape=(40, 80), img_shape=(20, 40), canvas_shape=(64, 64), offset=(30, 10))
    tokens = torch.zeros(2, 16 * 16, 1)
    tokens[1, 10 * 16 + 5] = 1  # canvas pixels x 20..24, y 40..44, so original pixels x 20..28, y 20..28
    on_image = maps_on_image(gate_maps({'neck.gates.0.spatial': tokens}, (64, 64)), placement, index=1)
    values = on_image['neck.gates.0']
    assert values.shape == (40, 80)
    y, x = np.mgrid[:40, :80] + 0.5
    assert [(values * axis).sum() / values.sum() for axis in (x, y)] == pytest.approx([24, 24])
    assert values[20:28, 20:28].min() > 0.2 and values[:12].max() == 0 and values[:, 36:].max() == 0
