"""Compare ``mmuniqrnet ground --ray`` with the inferencer alone, in turn, on scenes of RefShapes.

The ratio is to the faster of the runs without Ray, with one thread and with as many threads as there are workers.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import torch

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.apis.scale.job import Job
from mmuniqrnet.apis.scale.rows import Row
from mmuniqrnet.apis.scale.running import Resources, run_job
from mmuniqrnet.apis.scale.worker import SECONDS
from mmuniqrnet.datasets.refshapes.writer import draw_scene
from mmuniqrnet.utils.tables import text_table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', help='config (default: the one in the weights)')
    parser.add_argument('--weights', default='shapes', help='weights (default: the shipped ones for RefShapes)')
    parser.add_argument('--images', type=int, default=128, help='scenes (default: %(default)s)')
    parser.add_argument('--part-rows', type=int, default=8, help='images in a part (default: %(default)s)')
    parser.add_argument('--workers', type=int, default=2, help='processes, of one core each (default: %(default)s)')
    parser.add_argument('--batch-size', type=int, default=16, help='expressions in a batch (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=2, help='how often each is measured (default: %(default)s)')
    return parser.parse_args()


def make_rows(folder: Path, count: int) -> list[Row]:
    """Scenes, written as PNG, and the expressions about them."""
    rows = []
    for i in range(count):
        picture, _, described = draw_scene(0, 'val', i)
        cv2.imwrite(str(folder / f'{i}.png'), picture)
        texts = [expression.raw for expressions in described for expression in expressions]
        rows.append(Row(i + 1, str(folder / f'{i}.png'), texts))
    return rows


def alone(args: argparse.Namespace, rows: list[Row], threads: int) -> dict:
    """One process with as many threads."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    ask = UniQRNetInferencer(args.config, args.weights, 'cpu', show_progress=False)
    start = time.perf_counter()
    answers = ask([row.image for row in rows], [row.expressions for row in rows], args.batch_size)['predictions']
    return dict(way=f'inferencer, {threads} threads', rate=len(answers) / (time.perf_counter() - start))


def on_ray(args: argparse.Namespace, rows: list[Row], folder: Path) -> dict:
    """Workers of one thread each; the rate without the start of Ray and of the workers is that of the last parts."""
    job = Job.create(folder, rows, {}, Path('/'), args.part_rows)
    options = dict(model=args.config, weights=args.weights, batch_size=args.batch_size)
    start, ends, done = time.perf_counter(), [], []
    for summary in run_job(job, options, Resources(args.workers, gpus=0)):
        ends.append(time.perf_counter())
        done.append(summary)
    first = 2 * args.workers  # parts; until then, some workers were not ready
    rate = sum(int(summary['answers']) for summary in done[first:]) / (ends[-1] - ends[first - 1])
    spent = [sum(float(summary[kind]) for summary in done) for kind in SECONDS]
    shares = {f'{kind}, %': 100 * seconds / sum(spent) for kind, seconds in zip(SECONDS, spent)}
    whole = job.answers / (time.perf_counter() - start)
    return dict(way=f'Ray, {args.workers} workers', rate=rate, **{'with start': whole}, **shares)


def main() -> None:
    args = parse_args()
    shares = [f'{kind}, %' for kind in SECONDS]
    columns = ['way', 'rate', 'ratio', 'with start', *shares]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = make_rows(folder, args.images)
        print(f'{args.images} images, {sum(len(row.expressions) for row in rows)} expressions; rate: answers a second')
        for number in range(args.rounds):
            found = [alone(args, rows, threads) for threads in sorted({1, args.workers})]
            found.append(on_ray(args, rows, folder / f'answers_{number}'))
            base = max(row['rate'] for row in found[:-1])
            table = [dict(row, ratio=row['rate'] / base) for row in found]
            print(text_table(table, columns, decimals=dict.fromkeys(['rate', 'with start', *shares], 1)), flush=True)


if __name__ == '__main__':
    main()
