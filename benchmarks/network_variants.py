"""The networks that training_step.py compares, and their steps."""

import argparse
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

import mmuniqrnet.models  # noqa: F401  (registers)
from mmuniqrnet.engine import compile_blocks, keep_less
from mmuniqrnet.registry import MODELS

# What can follow "ours", in any order, each after a plus sign.
OPTIONS = ('half', 'blocks', 'whole', 'graph')
SIZES = {
    'nano': dict(channels=24, depths=(2, 2, 2), heads=(2, 4, 8), window=4, out=64, text=64, rank=8),
    'swin-s': dict(channels=96, depths=(2, 2, 18, 2), heads=(3, 6, 12, 24), window=7, out=256, text=768, rank=30),
}


class BackboneAndNeck(nn.Module):
    """Images [B, 3, H, W] and sentences [B, D] -> the neck's maps."""

    def __init__(self, backbone: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, neck

    def forward(self, images: Tensor, sentence: Tensor) -> Sequence[Tensor]:
        return self.neck(self.backbone(images, sentence), sentence)


def build(variant: str, args: argparse.Namespace) -> nn.Module:
    """One variant; the transcription's weights have other names, the numbers of weights are the same."""
    size = SIZES[args.size]
    widths = [size['channels'] * 2**i for i in range(len(size['depths']))]
    if variant == 'transcription':
        from reference.fusion import QueryAwareFusion
        from reference.swin import QueryModulatedSwin

        gates = dict(text_dim=size['text'], rank=size['rank'], channel_gate=True, spatial_gate=True)
        backbone = QueryModulatedSwin(
            size['channels'], size['depths'], size['heads'], size['window'], reduction=8, **gates
        )
        return BackboneAndNeck(backbone, QueryAwareFusion(widths, size['out'], reduction=8, **gates))
    stages = range(len(widths))
    backbone = MODELS.build(
        dict(
            type='mmuniqrnet.QRNetSwin',
            text_dim=size['text'],
            gate_rank=size['rank'],
            gate_reduction=8,
            embed_dims=size['channels'],
            depths=size['depths'],
            num_heads=size['heads'],
            window_size=size['window'],
            strides=[4, *(2 for _ in stages[1:])],
            out_indices=tuple(stages),
            drop_path_rate=args.drop_path if variant.startswith('ours') else 0.0,
        )
    )
    if variant == 'mmdet':
        use_mmdets_blocks(backbone)
    elif 'half' in options_of(variant):
        for module in backbone.modules():
            if hasattr(module, 'half_residual'):
                module.half_residual = True
    neck = dict(type='mmuniqrnet.QueryAwareFusion', in_channels=widths, out_channels=size['out'])
    neck |= dict(text_dim=size['text'], gate_rank=size['rank'], gate_reduction=8, num_outs=len(widths) + 1)
    return BackboneAndNeck(backbone, MODELS.build(neck))


def use_mmdets_blocks(backbone: nn.Module) -> None:
    """Undo :func:`mmuniqrnet.models.layers.use_window_blocks`."""
    from mmdet.models.backbones.swin import PatchMerging, SwinBlock

    for module in backbone.modules():
        for kind in (SwinBlock, PatchMerging):
            if isinstance(module, kind):
                module.__class__ = kind


def options_of(variant: str) -> list[str]:
    """The options in a variant's name: ``ours+blocks+graph`` -> ``['blocks', 'graph']``."""
    return variant.split('+')[1:]


def is_compiled(variant: str) -> bool:
    return bool({'blocks', 'whole'} & set(options_of(variant)))


def variant_name(text: str) -> str:
    """Check the name of a variant on the command line."""
    name, *options = text.split('+')
    known = name == 'ours' and set(options) <= set(OPTIONS) and not {'blocks', 'whole'} <= set(options)
    if not known and text not in ('transcription', 'mmdet'):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not transcription, mmdet, or ours with any of {", ".join("+" + o for o in OPTIONS)} '
            '(+blocks or +whole, not both)'
        )
    return text


def step_of(variant: str, dtype: str, mode: str, args: argparse.Namespace) -> tuple[Callable[[], None], int]:
    """A training step without the optimiser, or an inference; and the bytes of the gradients that it leaves."""
    torch.manual_seed(0)
    inference, options = mode == 'inference', options_of(variant)
    model: nn.Module = build(variant, args).to(args.device).train(not inference)
    parameters = list(model.parameters())
    if 'blocks' in options:
        compile_blocks(model)
    if 'whole' in options:
        keep_less()
        model.compile(fullgraph=True, dynamic=False)
    images = torch.randn(args.batch, 3, args.pixels, args.pixels, device=args.device)
    sentence = torch.randn(args.batch, SIZES[args.size]['text'], device=args.device)

    def step() -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = dtype == 'tf32'
        autocast = torch.autocast(args.device, torch.bfloat16) if dtype == 'bf16' else nullcontext()
        with torch.inference_mode(inference), autocast:
            loss = sum(x.float().mean() for x in model(images, sentence))
        if not inference:
            loss.backward()
            for p in parameters:
                p.grad = None

    gradients = 0 if inference else sum(p.numel() * p.itemsize for p in parameters)
    return step, gradients


def graphed(step: Callable[[], None]) -> Callable[[], None]:
    """The kernels of a step as one CUDA graph, which the host starts with one call."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # before a capture, as torch requires
        for _ in range(2):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
