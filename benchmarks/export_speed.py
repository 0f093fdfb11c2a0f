"""Time of an exported network in onnxruntime relative to PyTorch, on one thread of the CPU.

    python benchmarks/export_speed.py EXPORT_DIR [--model CONFIG --weights CHECKPOINT] [--batch 1] [--runs 20]

Only the network is measured, on random images and texts; without --model and --weights the shipped network.
"""

import argparse
import statistics
from collections.abc import Sequence

import torch
from timing import processor_seconds

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.config import positive_int
from mmuniqrnet.export.network import ExportedNetwork, NetworkInputs
from mmuniqrnet.export.predictor import OnnxPredictor
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table


def inputs(network: ExportedNetwork, batch: int, length: int = 8) -> NetworkInputs:
    generator = torch.Generator().manual_seed(0)
    height, width = network.canvas_size
    return NetworkInputs(
        image=torch.randn(batch, 3, height, width, generator=generator),
        input_ids=torch.randint(5, 50, (batch, length), generator=generator),
        attention_mask=torch.ones(batch, length, dtype=torch.long),
        window=torch.tensor([[0, 0, width, height]] * batch),
    )


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', metavar='EXPORT_DIR', help='folder that tools/export.py wrote')
    parser.add_argument('--model', metavar='CONFIG', help='the config that was exported')
    parser.add_argument('--weights', metavar='CHECKPOINT', help='the weights that were exported')
    parser.add_argument('--batch', type=positive_int, default=1, help='expressions per batch (default: 1)')
    parser.add_argument('--runs', type=positive_int, default=20, help='runs of each (default: 20)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    torch.set_num_threads(1)
    network = ExportedNetwork(
        UniQRNetInferencer(
            args.model, args.weights or (None if args.model else 'shapes'), 'cpu', show_progress=False
        ).model
    )
    onnx = OnnxPredictor(args.folder, threads=1)
    given = inputs(network, args.batch)
    feed = {name: value.numpy() for name, value in given._asdict().items()}
    calls = dict(PyTorch=lambda: network(*given), onnxruntime=lambda: onnx.session.run(onnx.outputs, feed))
    times: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for run in range(args.runs + 2):
            for name, call in calls.items():  # in turn, so that both run under the same load
                seconds = processor_seconds(call)
                if run >= 2:
                    times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f'processor time of a batch of {args.batch} in ms, {args.runs} runs:')
    rows = [{'': name, 'median': 1e3 * medians[name], 'minimum': 1e3 * min(times[name])} for name in calls]
    print(text_table(rows, decimals=dict(median=1, minimum=1)))
    print(f"onnxruntime takes {medians['onnxruntime'] / medians['PyTorch']:.2f} of PyTorch's time")


if __name__ == '__main__':
    run_tool(main)
