"""Time, memory and arithmetic of backbone and neck, relative to a straightforward transcription of the papers.

Variants, each measured in turn with the first one:

- transcription: the formulas (tests/reference);
- mmdet: our modules with mmdet's Swin blocks;
- ours, and after it any of +half (the residual stream in bf16 under autocast), +blocks (compiled by parts, see
  compile_blocks), +whole (compiled as one) and +graph (a CUDA graph of the step), such as ours+half+blocks.

In training or inference, on a GPU if there is one. Images and texts are random. Every figure is printed, and written to
the file of --json, as soon as it is measured.

    python benchmarks/training_step.py [--size nano|swin-s] [--pixels N] [--batch N] [--dtypes float32 tf32 bf16]
        [--modes training inference] [--variants NAME ...] [--seconds N] [--profile] [--json FILE]
"""

import argparse
import ctypes
import gc
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / 'tests'))
from kinds_of_operation import kinds_of
from network_variants import SIZES, graphed, is_compiled, options_of, step_of, variant_name
from traffic import bandwidth, bytes_of

from mmuniqrnet.config import positive_int
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table

# Other than 2 digits after the point.
DECIMALS = {'ms': 1, 'images/s': 1, 'compile s': 1, 'TFLOP': 3, 'floor ms': 1, 'traffic ms': 1}


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
    """GiB allocated at most, with what was in memory before subtracted."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 2**30


def cpu_memory(variant: str, dtype: str, mode: str, argv: Sequence[str]) -> float:
    """GiB of resident memory at most that a step adds, in a process of its own."""
    command = [sys.executable, __file__, *argv, '--memory-of', variant]
    command += ['--dtypes', dtype, '--modes', mode]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def report_memory(variant: str, dtype: str, args: argparse.Namespace) -> None:
    step, _ = step_of(variant, dtype, args.modes[0], args)
    if is_compiled(variant):
        step()  # compiles, and its memory is not that of a step
        gc.collect()
        ctypes.CDLL('libc.so.6').malloc_trim(0)  # else memory that was freed would count as resident
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


@contextmanager
def limited(limit: int | None) -> Iterator[None]:
    """Raise TimeoutError after ``limit`` seconds; compilers can pass it on as an error of their own."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f'not measured within {limit} s')

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit or 0)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


class Comparison:
    """The variants of one dtype and mode, compared with the first one, which stays in memory."""

    def __init__(self, dtype: str, mode: str, args: argparse.Namespace, argv: Sequence[str]) -> None:
        self.dtype, self.mode, self.args, self.argv = dtype, mode, args, argv
        self.base, self.gradients = step_of(args.variants[0], dtype, mode, args)
        seconds(self.base, args.device)
        with FlopCounterMode(display=False) as counter:
            self.base()
        self.flops = counter.get_total_flops()
        self.rate, self.copied = matrix_rate(dtype, args.device), bandwidth(args.device, seconds)
        self.base_memory: float | None = None

    def row(self, variant: str) -> dict[str, Any]:
        """The row of one variant: its time and memory, and what they are compared with."""
        args, options = self.args, options_of(variant)
        gpu, compiled = args.device == 'cuda', is_compiled(variant)
        step = self.base if variant == args.variants[0] else step_of(variant, self.dtype, self.mode, args)[0]
        first = seconds(step, args.device, wall=True)
        # A graph's memory stays allocated, and the graph does not show what it reads, so both are asked before.
        memory = gpu_memory(step) if gpu else cpu_memory(variant, self.dtype, self.mode, self.argv)
        moved = None if compiled else bytes_of(step)  # nothing sees what compiled code reads and writes
        if 'graph' in options:
            step = graphed(step)
        self.step = step
        for each in (step, self.base):
            seconds(each, args.device)
        times, base_times = [], []
        for _ in range(args.rounds):  # in turn, so that both run under the same load
            times.append(seconds(step, args.device))
            base_times.append(times[-1] if step is self.base else seconds(self.base, args.device))
        if self.base_memory is None:
            self.base_memory = memory
        median = statistics.median(times)
        return {
            'mode': self.mode,
            'dtype': self.dtype,
            'variant': variant,
            'ms': 1e3 * median,
            'ratio': median / statistics.median(base_times),
            'images/s': args.batch / median,
            'compile s': max(first - median, 0.0) if compiled else None,
            'GiB': memory,
            'memory ratio': memory / self.base_memory,
            'floor GiB': self.gradients / 2**30,
            'TFLOP': self.flops / 1e12,
            'floor ms': 1e3 * self.flops / self.rate,
            'GB moved': None if moved is None else moved / 1e9,
            'traffic ms': None if moved is None else 1e3 * moved / self.copied,
            'share of matrix rate': self.flops / median / self.rate,
        }


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default=device, choices=['cpu', 'cuda'], help=f'default: {device}')
    parser.add_argument('--size', choices=list(SIZES), default='swin-s', help='default: swin-s')
    parser.add_argument('--pixels', type=positive_int, help='default: 640 on a GPU, 320 on a CPU, 64 for nano')
    parser.add_argument('--batch', type=positive_int, help='default: 16 on a GPU, 1 on a CPU, 32 for nano')
    parser.add_argument('--dtypes', nargs='+', choices=['float32', 'tf32', 'bf16'], help='default: all; CPU: float32')
    parser.add_argument(
        '--modes', nargs='+', choices=['training', 'inference'], default=['training'], help='default: training'
    )
    parser.add_argument(
        '--variants',
        nargs='+',
        type=variant_name,
        default=['transcription', 'mmdet', 'ours'],
        help='transcription, mmdet, ours, ours+half+blocks, ... (default: transcription mmdet ours)',
    )
    parser.add_argument('--rounds', type=positive_int, default=5, help='measured steps of each (default: 5)')
    parser.add_argument('--threads', type=positive_int, help='threads on a CPU (default: all cores)')
    parser.add_argument('--drop-path', type=float, default=0.0, help='ours only: largest drop path rate (default: 0)')
    parser.add_argument(
        '--seconds', type=positive_int, help='skip a variant other than the first that takes longer (default: no limit)'
    )
    parser.add_argument('--profile', action='store_true', help='also the time by kind of operation')
    parser.add_argument('--json', type=Path, help='write all figures to this file')
    parser.add_argument('--memory-of', type=variant_name, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    gpu, nano = args.device == 'cuda', args.size == 'nano'
    if options_of(args.variants[0]):
        parser.error(f'the first variant, which the others are compared with, can not have options: {args.variants[0]}')
    if not gpu and any('graph' in options_of(v) for v in args.variants):
        parser.error('+graph is a CUDA graph, which needs --device cuda')
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
    print(f'{args.size} backbone and neck, {args.pixels} pixels, batch {args.batch}, {machine}:', flush=True)
    report: dict[str, Any] = dict(machine=machine, torch=torch.__version__, arguments=argv)
    report |= dict(rows=[], kinds=[], longest=[], skipped=[])
    for mode in args.modes:
        for dtype in args.dtypes:
            comparison = Comparison(dtype, mode, args, argv)
            for variant in args.variants:
                measure(comparison, variant, report)
                if args.json:
                    args.json.write_text(json.dumps(report, indent=1))
            del comparison
    print(text_table(report['rows'], decimals=DECIMALS))
    if report['kinds']:
        print('milliseconds by kind of operation (step: without the profiler):')
        print(text_table(report['kinds'], decimals=dict.fromkeys(report['kinds'][0], 1)))


def measure(comparison: Comparison, variant: str, report: dict[str, Any]) -> None:
    """Add one variant's figures to the report, or why there are none; a first variant must not fail."""
    args = comparison.args
    what = {'mode': comparison.mode, 'dtype': comparison.dtype, 'variant': variant}
    start = time.perf_counter()
    part = ''
    try:
        with limited(None if variant == args.variants[0] else args.seconds):
            row = comparison.row(variant)
            report['rows'].append(row)
            part = 'profile: '
            shown = {k: row[k] for k in ('ms', 'ratio', 'GiB', 'memory ratio', 'compile s') if row[k] is not None}
            print(*what.values(), *(f'{k} {v:.2f}' for k, v in shown.items()), sep='  ', flush=True)
            if args.profile:
                kinds, longest = kinds_of(comparison.step, args.device)
                report['kinds'].append(what | kinds | {'step': row['ms']})
                report['longest'].append(what | {'longest': longest})
                print('   ', *(f'{k} {v:.1f}' for k, v in report['kinds'][-1].items() if k not in what), flush=True)
    except Exception as error:  # of a compiler, or too little memory or time: the other variants are still of use
        if variant == args.variants[0]:
            raise
        message = f'{part}{type(error).__name__}: {error}'[:2000]
        report['skipped'].append(what | {'why': message, 'after s': time.perf_counter() - start})
        print(*what.values(), 'skipped:', message.splitlines()[0], flush=True)
    torch.compiler.reset()
    comparison.step = comparison.base
    if args.device == 'cuda':
        torch.cuda.empty_cache()


if __name__ == '__main__':
    run_tool(main)
