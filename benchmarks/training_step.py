"""Time, memory and arithmetic of backbone and neck, relative to a straightforward transcription of the papers.

Measured in turn, in one run: "transcription" (the formulas, tests/reference), "mmdet" (our modules with mmdet's Swin
blocks) and "ours", in training or inference, on a GPU if there is one. Images and texts are random.

    python benchmarks/training_step.py [--size nano|swin-s] [--pixels N] [--batch N] [--dtypes float32 tf32 bf16]
        [--inference] [--half-residual] [--compile] [--profile] [--json FILE]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / 'tests'))
from traffic import bandwidth, bytes_of

import mmuniqrnet.models  # noqa: F401  (registers)
from mmuniqrnet.config import positive_int
from mmuniqrnet.engine import compile_blocks
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table

# Other than 2 digits after the point.
DECIMALS = {'ms': 1, 'images/s': 1, 'compile s': 1, 'TFLOP': 3, 'floor ms': 1, 'traffic ms': 1}
VARIANTS = ('transcription', 'mmdet', 'ours')
SIZES = {
    'nano': dict(channels=24, depths=(2, 2, 2), heads=(2, 4, 8), window=4, out=64, text=64, rank=8),
    'swin-s': dict(channels=96, depths=(2, 2, 18, 2), heads=(3, 6, 12, 24), window=7, out=256, text=768, rank=30),
}
# The first kind with a part that is in the operator's name counts.
KINDS = {
    'attention': ('scaled_dot_product', 'flash', '_efficient_attention', 'softmax'),
    'matrix products': ('mm', 'linear', 'convolution', 'matmul', 'cudnn'),
    'norms': ('layer_norm', 'group_norm'),
    'copies': ('copy', 'index', 'cat', 'pad', 'roll', 'im2col', 'col2im', 'fill', 'zero', 'clone', 'slice', 'stack'),
    'sums and pooling': ('sum', 'mean', 'max', 'pool', 'upsample'),
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
            drop_path_rate=args.drop_path if variant == 'ours' else 0.0,
        )
    )
    if variant == 'mmdet':
        use_mmdets_blocks(backbone)
    elif args.half_residual:
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


def step_of(variant: str, dtype: str, args: argparse.Namespace) -> tuple[Callable[[], None], int]:
    """A training step without the optimiser, or an inference; and the bytes of the gradients that it leaves."""
    torch.manual_seed(0)
    model = build(variant, args).to(args.device).train(not args.inference)
    if args.compile and variant == 'ours':
        compile_blocks(model)
    images = torch.randn(args.batch, 3, args.pixels, args.pixels, device=args.device)
    sentence = torch.randn(args.batch, SIZES[args.size]['text'], device=args.device)

    def step() -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = dtype == 'tf32'
        autocast = torch.autocast(args.device, torch.bfloat16) if dtype == 'bf16' else nullcontext()
        with torch.inference_mode(args.inference), autocast:
            loss = sum(x.float().mean() for x in model(images, sentence))
        if not args.inference:
            loss.backward()
            for p in model.parameters():
                p.grad = None

    gradients = 0 if args.inference else sum(p.numel() * p.itemsize for p in model.parameters())
    return step, gradients


def seconds(step: Callable[[], None], device: str, wall: bool = False) -> float:
    """Wall time on a GPU; on a CPU, which others may use, the time of this process on all threads."""
    if device == 'cpu' and not wall:
        start = time.process_time()
        step()
        return time.process_time() - start
    synchronize(device)
    start = time.perf_counter()
    step()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: str) -> None:
    if device == 'cuda':
        torch.cuda.synchronize()


def gpu_memory(step: Callable[[], None]) -> float:
    """GiB allocated at most, with the parameters of all variants in memory subtracted."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 2**30


def cpu_memory(variant: str, dtype: str, argv: Sequence[str]) -> float:
    """GiB of resident memory at most that a step adds, in a process of its own."""
    command = [sys.executable, __file__, *argv, '--memory-of', variant, '--dtypes', dtype]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def report_memory(variant: str, dtype: str, args: argparse.Namespace) -> None:
    step, _ = step_of(variant, dtype, args)
    Path('/proc/self/clear_refs').write_text('5')  # the peak is now what is resident now
    before = peak_kib()
    step()
    print((peak_kib() - before) / 2**20)


def peak_kib() -> int:
    """The largest resident memory of this process, in KiB (Linux)."""
    status = Path('/proc/self/status').read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith('VmHWM')))


def matrix_rate(dtype: str, device: str) -> float:
    """FLOP/s of one large matrix product."""
    n = 2048 if device == 'cpu' else 8192
    torch.backends.cuda.matmul.allow_tf32 = dtype == 'tf32'
    x = torch.randn(n, n, device=device, dtype=torch.bfloat16 if dtype == 'bf16' else torch.float32)
    return 2 * n**3 / min(seconds(lambda: x @ x, device) for _ in range(5))


def kinds_of(step: Callable[[], None], device: str) -> dict[str, float]:
    """Milliseconds of one step by kind of operation."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == 'cuda' else [])
    with profile(activities=activities) as run:
        step()
        synchronize(device)
    times: dict[str, float] = dict.fromkeys([*KINDS, 'elementwise and others'], 0.0)
    for event in run.key_averages():
        if not event.key.startswith('aten::'):
            continue
        spent = event.self_device_time_total if device == 'cuda' else event.self_cpu_time_total
        kind = next((k for k, parts in KINDS.items() if any(p in event.key for p in parts)), 'elementwise and others')
        times[kind] += spent / 1e3
    return times


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default=device, choices=['cpu', 'cuda'], help=f'default: {device}')
    parser.add_argument('--size', choices=list(SIZES), default='swin-s', help='default: swin-s')
    parser.add_argument('--pixels', type=positive_int, help='default: 640 on a GPU, 320 on a CPU, 64 for nano')
    parser.add_argument('--batch', type=positive_int, help='default: 16 on a GPU, 1 on a CPU, 32 for nano')
    parser.add_argument('--dtypes', nargs='+', choices=['float32', 'tf32', 'bf16'], help='default: all; CPU: float32')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS), help='default: all')
    parser.add_argument('--rounds', type=positive_int, default=5, help='measured steps of each (default: 5)')
    parser.add_argument('--threads', type=positive_int, help='threads on a CPU (default: all cores)')
    parser.add_argument('--drop-path', type=float, default=0.0, help='ours only: largest drop path rate (default: 0)')
    parser.add_argument('--inference', action='store_true', help='inference instead of a training step')
    parser.add_argument('--half-residual', action='store_true', help='ours only: the residual stream in bf16')
    parser.add_argument('--compile', action='store_true', help='ours only: compile the blocks of the backbone')
    parser.add_argument('--profile', action='store_true', help='also the time by kind of operation')
    parser.add_argument('--json', type=Path, help='write all figures to this file')
    parser.add_argument('--memory-of', choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    gpu, nano = args.device == 'cuda', args.size == 'nano'
    args.pixels = args.pixels or (64 if nano else 640 if gpu else 320)
    args.batch = args.batch or (32 if nano else 16 if gpu else 1)
    args.dtypes = args.dtypes or (['float32', 'tf32', 'bf16'] if gpu else ['float32'])
    return args


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else list(argv)
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.memory_of:
        report_memory(args.memory_of, args.dtypes[0], args)
        return
    machine = torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    what = 'inference' if args.inference else 'training step'
    print(f'{what}, {args.size} backbone and neck, {args.pixels} pixels, batch {args.batch}, {machine}:', flush=True)
    rows, kinds = [], []
    for dtype in args.dtypes:
        made = {variant: step_of(variant, dtype, args) for variant in args.variants}
        steps = {variant: step for variant, (step, _) in made.items()}
        first = {variant: seconds(step, args.device, wall=True) for variant, step in steps.items()}
        seconds(steps[args.variants[-1]], args.device)
        times: dict[str, list[float]] = {variant: [] for variant in steps}
        for _ in range(args.rounds):
            for variant, step in steps.items():  # in turn, so that all run under the same load
                times[variant].append(seconds(step, args.device))
        with FlopCounterMode(display=False) as counter:
            steps[args.variants[0]]()
        flops, rate = counter.get_total_flops(), matrix_rate(dtype, args.device)
        copied = bandwidth(args.device, seconds)
        base = statistics.median(times[args.variants[0]])
        memory: dict[str, float] = {}
        for variant, step in steps.items():
            median = statistics.median(times[variant])
            gpu, compiled = args.device == 'cuda', args.compile and variant == 'ours'
            # Nothing sees what compiled code reads and writes.
            moved = None if compiled else bytes_of(step)
            memory[variant] = gpu_memory(step) if gpu else cpu_memory(variant, dtype, argv)
            rows.append(
                {
                    'dtype': dtype,
                    'variant': variant,
                    'ms': 1e3 * median,
                    'ratio': median / base,
                    'images/s': args.batch / median,
                    'compile s': max(first[variant] - median, 0.0) if compiled else None,
                    'GiB': memory[variant],
                    'memory ratio': memory[variant] / memory[args.variants[0]],
                    'floor GiB': made[variant][1] / 2**30,
                    'TFLOP': flops / 1e12,
                    'floor ms': 1e3 * flops / rate,
                    'GB moved': None if moved is None else moved / 1e9,
                    'traffic ms': None if moved is None else 1e3 * moved / copied,
                    'share of matrix rate': flops / median / rate,
                }
            )
            if args.profile:
                kinds.append({'dtype': dtype, 'variant': variant} | kinds_of(step, args.device))
        del steps, made
    print(text_table(rows, decimals=DECIMALS))
    if kinds:
        print('milliseconds by kind of operation:')
        print(text_table(kinds, decimals=dict.fromkeys(kinds[0], 1)))
    if args.json:
        args.json.write_text(
            json.dumps(dict(machine=machine, what=what, arguments=argv, rows=rows, kinds=kinds), indent=1)
        )


if __name__ == '__main__':
    run_tool(main)
