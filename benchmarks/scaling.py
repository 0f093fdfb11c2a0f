"""What limits a training on many GPUs: gradients on the wire, decoding, disk, validation; the table of docs/scaling.md.

One figure is measured, the speed of uniqrnet_swin-b_refcoco.py on one H200 (docs/performance.md); the others follow
from it by the arithmetic below. No GPU is needed.

    python benchmarks/scaling.py [--network-gbit 100 400] [--images-per-core 51] [--kilobytes-per-image 160]
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.config import positive_int
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table

BATCH = 16
# The whole network's forward pass in training, one image: torch's FlopCounterMode, 640 pixels, BERT, 20 tokens. The
# backward pass is taken to be twice as much.
FORWARD_TFLOP = dict(t=0.147, s=0.218, b=0.331)
PARAMETERS = dict(t=253_936_495, s=275_254_399, b=336_169_973)
# Tokens x width, summed over the blocks of the backbone, in units of the first stage's tokens.
ACTIVATIONS = {
    name: sum(depth * width / 2**stage for stage, depth in enumerate(depths))
    for name, width, depths in (('t', 96, (2, 2, 6, 2)), ('s', 96, (2, 2, 18, 2)), ('b', 128, (2, 2, 18, 2)))
}
# Measured: Swin-B, batch 16, bfloat16, one H200.
MEASURED_STEP, MEASURED_WAITING, MEASURED_GIB = 0.45, 0.09, 24.9
# Float32: weight, gradient, two moments of AdamW, average (EMA).
BYTES_PER_PARAMETER = 20
NVLINK = 450e9  # bytes per second and direction of one H100 or H200, nominal
EPOCH, VALIDATION = 120_624, 10_834  # expressions of RefCOCO (unc)


def per_gpu() -> list[dict]:
    """Speed and memory of one GPU for each size of the backbone."""
    fixed = {name: count * BYTES_PER_PARAMETER / 2**30 for name, count in PARAMETERS.items()}
    activations = MEASURED_GIB - fixed['b']
    rows = []
    for name, flop in FORWARD_TFLOP.items():
        step = (MEASURED_STEP - MEASURED_WAITING) * flop / FORWARD_TFLOP['b']
        memory = fixed[name] + activations * ACTIVATIONS[name] / ACTIVATIONS['b']
        rows.append(
            {
                'backbone': f'Swin-{name.upper()}',
                'parameters, million': f'{PARAMETERS[name] / 1e6:.0f}',
                'TFLOP an image': f'{3 * flop:.2f}',
                'step, s': f'{step:.2f}',
                'images/s': f'{BATCH / step:.0f}',
                'weights and optimiser, GiB': f'{fixed[name]:.1f}',
                'in all, GiB': f'{memory:.1f}',
            }
        )
    return rows


def on_many(gpus: int, network: float, per_core: float, kilobytes: float) -> dict:
    """What a Swin-B training on many GPUs, 8 a machine, asks of network, processors and disk.

    Args:
        gpus: Number of GPUs.
        network: Bytes per second and direction of a machine's network.
        per_core: Images that a core loads in a second.
        kilobytes: Size of an image's file.
    """
    gradients = 4 * PARAMETERS['b']
    machines = -(-gpus // 8)
    inside = 2 * (min(gpus, 8) - 1) / min(gpus, 8) * gradients / NVLINK
    between = 2 * (machines - 1) / machines * gradients / network
    step = MEASURED_STEP - MEASURED_WAITING
    backward = step * 2 / 3
    seen = max(0.0, inside + between - backward)
    images = gpus * BATCH / (step + seen)
    return {
        'GPUs': gpus,
        'batch': gpus * BATCH,
        'network, Gbit/s': f'{network * 8 / 1e9:.0f}',
        'all-reduce, ms': f'{1000 * (inside + between):.0f}',
        'backward, ms': f'{1000 * backward:.0f}',
        'images/s': f'{images:,.0f}',
        'cores a machine for loading': f'{images / machines / per_core:.0f}',
        'read, MB/s in all': f'{images * kilobytes / 1000:,.0f}',
        'steps an epoch': EPOCH // (gpus * BATCH),
        'epoch, minutes': f'{EPOCH / images / 60:.1f}',
        'validation, s': f'{VALIDATION / gpus * step / 3 / BATCH:.1f}',
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description='What limits a training on many GPUs.')
    parser.add_argument('--network-gbit', type=positive_int, nargs='+', default=[100, 400], help='of one machine')
    parser.add_argument('--images-per-core', type=positive_int, default=51, help='loaded in a second')
    parser.add_argument('--kilobytes-per-image', type=positive_int, default=160, help='size of a JPEG file')
    args = parser.parse_args(argv)
    print(f'One H200, batch {BATCH}; Swin-B measured, the others in proportion to it:\n')
    print(text_table(per_gpu()))
    print('\nSwin-B on machines of 8 GPUs:\n')
    rows = [
        on_many(gpus, gbit * 1e9 / 8, args.images_per_core, args.kilobytes_per_image)
        for gpus in (8, 64, 512)
        for gbit in (args.network_gbit if gpus > 8 else args.network_gbit[:1])
    ]
    print(text_table(rows))


if __name__ == '__main__':
    run_tool(main)
