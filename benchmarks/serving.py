"""Load test of ``mmuniqrnet serve`` on this machine: requests per second and latencies, with batches and without.

Two servers run in processes of their own, one with batches and one with --max-batch 1. They take turns under the same
load: a number of clients, each of which sends a request as soon as it has the answer to the last one. Clients ask about
pictures of their own (``different``), or all about one picture (``same``), each time with one of several expressions.
The clients are one more process on the same cores. Ratios are with batches over without.

    python benchmarks/serving.py [--clients 16 64] [--seconds 5] [--rounds 3] [--threads 1] [--onnx FOLDER]
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2

from mmuniqrnet.config import positive_int
from mmuniqrnet.datasets.refshapes.writer import draw_scene
from mmuniqrnet.utils.errors import UserError, run_tool
from mmuniqrnet.utils.tables import text_table

HOST, BOUNDARY = '127.0.0.1', 'boundary-of-parts'
SERVERS = {'with': ['--max-batch', '16', '--max-wait-ms', '5'], 'without': ['--max-batch', '1', '--max-wait-ms', '0']}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--clients', nargs='+', type=positive_int, default=[16, 64], metavar='N')
    parser.add_argument('--seconds', type=float, default=5.0, help='of load in each round (default: 5)')
    parser.add_argument('--rounds', type=positive_int, default=3)
    parser.add_argument('--threads', type=positive_int, default=1, help='of the network (default: 1)')
    parser.add_argument('--onnx', metavar='FOLDER', help='an export (default: the shipped weights for RefShapes)')
    return parser.parse_args(argv)


@contextmanager
def serving(arguments: Sequence[str], threads: int) -> Iterator[int]:
    """The port of a server."""
    command = [sys.executable, '-m', 'mmuniqrnet.cli', 'serve', '--port', '0', '--device', 'cpu', *arguments]
    environment = os.environ | {'OMP_NUM_THREADS': str(threads)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        line = process.stdout.readline()
        if not line.startswith('Serving '):
            raise UserError('the server did not start; its message is above.')
        yield int(line.partition(f'{HOST}:')[2].split()[0])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def requests_of(client: int, same: bool) -> list[bytes]:
    """Requests about one scene of RefShapes, one for each of its expressions."""
    scene, _, described = draw_scene(1, 'val', 0 if same else client)
    image = cv2.imencode('.png', scene)[1].tobytes()
    requests = []
    for text in (expression.raw for expressions in described for expression in expressions):
        part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name='
        body = (
            f'{part}"expression"\r\n\r\n{text}\r\n{part}"image"; filename="scene.png"\r\n\r\n'.encode()
            + image
            + f'\r\n--{BOUNDARY}--\r\n'.encode()
        )
        head = (
            f'POST /ground HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n'
            f'Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n'
        )
        requests.append(head.encode() + body)
    return requests


async def ask(port: int, requests: Sequence[bytes], end: float) -> list[float]:
    """The seconds of each request of a client until ``end``."""
    reader, writer = await asyncio.open_connection(HOST, port)
    seconds: list[float] = []
    while (start := time.perf_counter()) < end:
        writer.write(requests[len(seconds) % len(requests)])
        head = await reader.readuntil(b'\r\n\r\n')
        if b' 200 ' not in head.partition(b'\r\n')[0]:
            raise UserError(f'the server answered {head.partition(bytes([13]))[0].decode()}.')
        await reader.readexactly(int(head.lower().partition(b'content-length: ')[2].partition(b'\r\n')[0]))
        seconds.append(time.perf_counter() - start)
    writer.close()
    return seconds


async def load(port: int, clients: Sequence[Sequence[bytes]], seconds: float) -> dict[str, float]:
    """Requests per second, and percentiles of the latency in milliseconds."""
    start = time.perf_counter()
    each = await asyncio.gather(*(ask(port, requests, start + seconds) for requests in clients))
    taken = time.perf_counter() - start
    times = sorted(1000 * one for client in each for one in client)
    cuts = statistics.quantiles(times, n=100)
    return {'requests/s': len(times) / taken, 'p50, ms': cuts[49], 'p95, ms': cuts[94], 'p99, ms': cuts[98]}


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    common = [
        '--max-queue',
        str(2 * max(args.clients)),
        *(['--onnx', args.onnx] if args.onnx else ['--weights', 'shapes']),
    ]
    rows = []
    with (
        serving([*SERVERS['with'], *common], args.threads) as batching,
        serving([*SERVERS['without'], *common], args.threads) as plain,
    ):
        ports = {'with': batching, 'without': plain}
        for count in args.clients:
            for pictures in ('different', 'same'):
                clients = [requests_of(client, pictures == 'same') for client in range(count)]
                found: dict[str, list[dict[str, float]]] = {name: [] for name in ports}
                for number in range(args.rounds + 1):
                    for name, port in ports.items():
                        measured = asyncio.run(load(port, clients, args.seconds if number else 1.0))
                        if number:  # the first round warms up
                            found[name].append(measured)
                case = dict(clients=count, pictures=pictures)
                for name, rounds in found.items():
                    medians = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
                    rows.append(case | dict(batches=name) | medians)
                ratios = {
                    key: statistics.median(a[key] / b[key] for a, b in zip(found['with'], found['without']))
                    for key in found['with'][0]
                }
                rows.append(case | dict(batches='ratio') | ratios)
    what = args.onnx or 'the shipped weights'
    print(f'{what}, {args.rounds} rounds of {args.seconds:g} s, {args.threads} threads, {os.cpu_count()} cores')
    print(text_table(rows, decimals=dict.fromkeys(('requests/s', 'p50, ms', 'p95, ms', 'p99, ms'), 2)))


if __name__ == '__main__':
    run_tool(main)
