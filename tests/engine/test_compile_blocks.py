"""Blocks compiled by kind: how many compilations there are, what stays the same, and the hook in a short training."""

import copy

import pytest
import torch
from helpers.needs import needs_torch
from helpers.poisoned import make_runner
from helpers.tiny_model import (
    TEXT_DIM,
    backbone_config,
    encoder_config,
    neck_config,
    neck_maps,
    open_gates,
    text_features,
)
from mmdet.models.layers import PatchEmbed
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn
from torch._dynamo.testing import CompileCounter

from mmuniqrnet.engine import CompileBlocksHook, compile_blocks
from mmuniqrnet.engine.compile_blocks import OLDEST_TORCH
from mmuniqrnet.models.gate_recording import record_gates
from mmuniqrnet.models.necks import QueryAwareFusion
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError

pytestmark = needs_torch(OLDEST_TORCH, f'CompileBlocksHook needs torch {OLDEST_TORCH}')

IMAGES = torch.randn(2, 3, 36, 44, generator=torch.Generator().manual_seed(0))
SENTENCE = torch.randn(2, TEXT_DIM, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    with torch._functorch.config.patch(activation_memory_budget=1.0):
        yield
    torch.compiler.reset()


def backbone(**changes):
    torch.manual_seed(0)
    stages = dict(depths=(4, 4), num_heads=(2, 2), strides=(4, 2), out_indices=(0, 1), drop_path_rate=0.4)
    return open_gates(MODELS.build(backbone_config(**stages | changes))).train()


def step(model):
    torch.manual_seed(2)
    outs = model(IMAGES, SENTENCE)
    model.zero_grad()
    sum(x.square().mean() for x in outs).backward()
    return [*outs, *(p.grad for p in model.parameters())]


def test_each_kind_is_compiled_once_and_computes_the_same():
    """Eight blocks of four kinds (two widths, shifted or not) with eight rates of drop path.

    Further kinds: patch embedding, and the ends of two stages.
    """
    model, counter = backbone(), CompileCounter()
    names = list(model.state_dict())
    assert len(compile_blocks(model, counter)) == 9
    with torch.compiler.set_stance('force_eager'):
        expected = step(model)
    for one, other in zip(step(model), expected):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    assert counter.frame_count == 7
    step(model)
    assert counter.frame_count == 7
    assert list(model.state_dict()) == names
    twin = copy.deepcopy(model)  # as hooks that average weights do it
    twin.load_state_dict(model.state_dict(), strict=True)
    step(twin)
    with record_gates(model) as recorded:
        model(IMAGES, SENTENCE)
    assert len(recorded) == 4
    assert counter.frame_count == 7


def test_compiled_blocks_keep_neither_gelu_nor_norms():
    """The hidden layer is kept once, and the gradients are those without compilation."""
    model, hidden = backbone(depths=(1, 1), drop_path_rate=0.0), []
    width = 4 * model.num_features[1]
    expected = step(model)
    compile_blocks(model, 'aot_eager_decomp_partition')

    def pack(x):
        hidden.extend([x] if x.shape[-1:] == (width,) and x.numel() == 2 * 5 * 6 * width else [])
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        compiled = step(model)
    assert len({x.untyped_storage().data_ptr() for x in hidden}) == 1
    for one, other in zip(compiled, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_the_neck_is_compiled_and_its_gates_are_still_recorded():
    torch.manual_seed(0)
    neck, counter = open_gates(MODELS.build(neck_config())), CompileCounter()
    maps = [torch.randn(2, c, 64 // s, 64 // s) for c, s in zip((8, 16, 32, 64), (4, 8, 16, 32))]
    expected = neck(maps, SENTENCE)
    assert compile_blocks(neck, counter) == [neck]
    for one, other in zip(neck(maps, SENTENCE), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert counter.frame_count == 1
    with record_gates(neck) as recorded:
        other_gates = neck(maps, SENTENCE.flip(0))
    assert len(recorded) == 6
    torch.testing.assert_close(neck(maps, SENTENCE.flip(0)), other_gates, rtol=1e-4, atol=1e-5)
    assert counter.frame_count == 1


def test_the_encoders_layers_are_one_kind():
    encoder, counter = MODELS.build(encoder_config(num_layers=3)), CompileCounter()
    inputs = neck_maps(2), text_features(2), torch.zeros(2, 64, 64, dtype=torch.bool)
    expected = encoder(*inputs)
    assert len(compile_blocks(encoder, counter)) == 3
    torch.testing.assert_close(encoder(*inputs).reg, expected.reg, rtol=1e-4, atol=1e-5)
    assert counter.frame_count == 1


def test_backbone_neck_and_encoder_have_no_graph_breaks():
    torch.manual_seed(0)
    model, neck, encoder = backbone(depths=(2, 2)), MODELS.build(neck_config()), MODELS.build(encoder_config())
    text, mask = text_features(2), torch.zeros(2, 64, 64, dtype=torch.bool)
    maps = [torch.randn(2, c, 64 // s, 64 // s) for c, s in zip((8, 16, 32, 64), (4, 8, 16, 32))]
    for function, inputs in (
        (model, (IMAGES, SENTENCE)),
        (open_gates(neck), (maps, SENTENCE)),
        (encoder, (neck_maps(2), text, mask)),
        (encoder.forward_layers, (neck_maps(2), text, mask)),
    ):
        torch.compile(function, backend='eager', fullgraph=True)(*inputs)


def test_bfloat16_with_half_residual_computes_the_same():
    """Compiled and not, under autocast: the same types, and as near to float32."""
    torch.manual_seed(0)
    model, neck = backbone(drop_path_rate=0.0, half_residual=True), open_gates(MODELS.build(neck_config()))
    maps = [torch.randn(2, c, 64 // s, 64 // s) for c, s in zip((8, 16, 32, 64), (4, 8, 16, 32))]

    def computed(half=True):
        # Weighted, because the mean square of what a norm gives has no gradient but rounding.
        with torch.autocast('cpu', torch.bfloat16, enabled=half):
            outs = [*model(IMAGES, SENTENCE), *neck(maps, SENTENCE)]
            loss = sum((x.float() * torch.linspace(-1, 1, x.numel()).view(x.shape)).sum() for x in outs)
        return [*outs, *torch.autograd.grad(loss, [*model.parameters(), *neck.parameters()])]

    exact, expected = computed(half=False), computed()
    for part in (model, neck):
        compile_blocks(part, 'aot_eager')
    for one, other, true in zip(computed(), expected, exact, strict=True):
        assert one.dtype == other.dtype
        assert (one - true).norm() <= 3 * (other - true).norm() + 0.02 * true.norm()


def test_a_subclass_can_change_a_part():
    class Doubled(QueryAwareFusion):
        def _fuse(self, maps, sentence):
            return tuple(2 * x for x in super()._fuse(maps, sentence))

    torch.manual_seed(0)
    neck, maps = MODELS.build(neck_config()), [torch.randn(2, c, s, s) for c, s in ((8, 16), (16, 8), (32, 4), (64, 2))]
    plain = neck(maps, SENTENCE)
    neck.__class__ = Doubled
    for one, other in zip(neck(maps, SENTENCE), plain, strict=True):
        torch.testing.assert_close(one, 2 * other)


class OneStage(BaseModel):
    def __init__(self):
        super().__init__()
        stage = dict(depths=(2,), num_heads=(2,), strides=(4,), out_indices=(0,), drop_path_rate=0.0)
        self.backbone = backbone(**stage)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        images = torch.stack(inputs)[:, :, None, None].expand(-1, -1, 24, 32)
        return dict(loss=sum(x.square().mean() for x in self.backbone(images)))


class Watch(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.compiled = torch._dynamo.utils.counters['stats']['unique_graphs']


def test_the_hook_compiles_a_training_and_changes_no_name(tmp_path):
    watch, states = Watch(), []
    for folder, hooks in (('plain', []), ('compiled', [dict(type='CompileBlocksHook', backend='eager'), watch])):
        sgd = dict(optimizer=dict(type='SGD', lr=0.1))
        run = make_runner(tmp_path / folder, OneStage(), hooks, iters=1, wrapper=sgd, randomness=dict(seed=0))
        run.train()
        states.append(run.model.state_dict())
    assert watch.compiled == 4
    assert list(states[0]) == list(states[1])
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(states[0].values(), states[1].values()))


def test_validation_is_not_compiled():
    model, counter = backbone(depths=(1, 1)), CompileCounter()
    compile_blocks(model, counter)
    hook = CompileBlocksHook()
    hook.before_val(None)
    try:
        with torch.no_grad():
            model.eval()(IMAGES[:1], SENTENCE[:1])
        assert counter.frame_count == 0
    finally:
        hook.after_val(None)
    step(model.train())
    assert counter.frame_count == 5


class Run:
    def __init__(self, model, **cfg):
        self.model, self.cfg = model, cfg


def test_what_has_no_effect_is_refused():
    with pytest.raises(UserError, match='Linear has no WindowBlock or'):
        CompileBlocksHook().before_train(Run(nn.Linear(2, 2)))
    with pytest.raises(UserError, match='the whole model: remove one'):
        CompileBlocksHook().before_train(Run(backbone(), compile=True))
    shares = OneStage()
    shares.data_preprocessor.share_images = True
    with pytest.raises(UserError, match='share_images=False'):
        CompileBlocksHook().before_train(Run(shares))
    with pytest.raises(UserError, match='Sequential has no WindowBlock or'):  # mmdet's own Swin is not ours
        CompileBlocksHook().before_train(Run(nn.Sequential(PatchEmbed(embed_dims=8))))
    with pytest.raises(UserError, match="no backend 'induktor'"):
        CompileBlocksHook('induktor')
