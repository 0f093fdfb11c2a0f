"""Time of an exported network in onnxruntime, as a share of PyTorch's, on one thread of the CPU.

    python benchmarks/export_speed.py EXPORT_DIR [--model CONFIG --weights CHECKPOINT] [--batch 1] [--runs 20]

The network alone, on made-up pictures and texts; without --model and --weights the shipped one.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.export.network import ExportedNetwork, NetworkInputs
from mmuniqrnet.export.predictor import OnnxPredictor


def inputs(network: ExportedNetwork, batch: int, length: int = 8) -> NetworkInputs:
    generator = torch.Generator().manual_seed(0)
    height, width = network.canvas_size
    return NetworkInputs(
        image=torch.randn(batch, 3, height, width, generator=generator),
        input_ids=torch.randint(5, 50, (batch, length), generator=generator),
        attention_mask=torch.ones(batch, length, dtype=torch.long),
        window=torch.tensor([[0, 0, width, height]] * batch),
    )


def processor_seconds(call: Callable[[], object]) -> float:
    """Of this process's own processor time, so that whatever else runs does not count."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', metavar='EXPORT_DIR', help='what tools/export.py wrote')
    parser.add_argument('--model', metavar='CONFIG', help='the config that was exported')
    parser.add_argument('--weights', metavar='CHECKPOINT', help='the weights that were exported')
    parser.add_argument('--batch', type=int, default=1, help='expressions at a time (default: 1)')
    parser.add_argument('--runs', type=int, default=20, help='runs of each (default: 20)')
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = ExportedNetwork(UniQRNetInferencer(args.model, args.weights, 'cpu', show_progress=False).model)
    onnx = OnnxPredictor(args.folder, threads=1)
    given = inputs(network, args.batch)
    feed = {name: value.numpy() for name, value in given._asdict().items()}
    calls = dict(PyTorch=lambda: network(*given), onnxruntime=lambda: onnx.session.run(onnx.outputs, feed))
    times: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for run in range(args.runs + 2):
            for name, call in calls.items():  # by turns, so that both meet the same machine
                seconds = processor_seconds(call)
                if run >= 2:
                    times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, seconds in medians.items():
        print(
            f'{name:12} {seconds * 1e3:8.1f} ms of processor time a batch of {args.batch} '
            f'(median of {args.runs}, least {min(times[name]) * 1e3:.1f})'
        )
    print(f"onnxruntime takes {medians['onnxruntime'] / medians['PyTorch']:.2f} of PyTorch's time")


if __name__ == '__main__':
    main()
