"""Time of a whole training step of the smallest model, also relative to another version of this package.

A step is everything between one step and the next: data, model, optimiser, hooks. Each version trains in a process of
its own, and they take turns, so that all run under the same load; the figures are processor time. With ``--against``,
both versions train the network, the losses and the data of the older version's config, with each version's own loop,
hooks, optimiser and image loading, from the same weights; the losses of the first steps are compared.

    git worktree add OLDER COMMIT
    python benchmarks/nano_step.py [--against OLDER] [--data data/refshapes] [--steps 20] [--rounds 3]
        [--threads 1] [--profile] [--json FILE] [--options KEY=VALUE ...]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIG = 'configs/uniqrnet_swin-nano_refshapes.py'
# What each version trains with is its own; network, losses and data are those of the older version.
OWN = ('default_hooks', 'optim_wrapper', 'env_cfg')


class Trainer:
    """A version of the package that trains in a process of its own, some steps at a time."""

    def __init__(self, tree: Path, arguments: Sequence[str]) -> None:
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tree), str(HERE)]))
        command = [sys.executable, str(HERE / 'nano_step_trainer.py'), str(tree), *arguments]
        self.process = subprocess.Popen(
            command, cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def answer(self) -> dict:
        """What the process reports next."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith('{'):
                return json.loads(line)
        raise SystemExit(f'the training ended with exit status {self.process.wait()}; its messages are above')

    def run(self, steps: int, profile: bool = False) -> dict:
        """Train on; returns ``seconds`` by part of the step and in all, ``losses``, and ``kinds`` with ``profile``."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(dict(steps=steps, profile=profile)) + '\n')
        self.process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--against', type=Path, help='folder of another version of this repository, the baseline')
    parser.add_argument('--data', type=Path, default=Path('data/refshapes'), help='RefShapes; made if missing')
    parser.add_argument('--steps', type=int, default=20, help='steps of a round (default: 20)')
    parser.add_argument('--rounds', type=int, default=3, help='rounds of each version (default: 3)')
    parser.add_argument('--warmup', type=int, default=10, help='steps before (default: 10)')
    parser.add_argument('--threads', type=int, default=1, help='threads of each version (default: 1)')
    parser.add_argument('--profile', action='store_true', help='also the time by kind of operation')
    parser.add_argument('--json', type=Path, help='write all figures to this file')
    parser.add_argument('--options', nargs='+', default=[], metavar='KEY=VALUE', help='changes of the config, for both')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    trees = {'this': HERE.parent}
    if args.against is not None:
        trees = {'baseline': args.against.resolve(), **trees}
    if any(not (tree / CONFIG).is_file() for tree in trees.values()):
        raise SystemExit(f'--against is a folder with {CONFIG}, not {args.against}.')
    found: dict[str, list[dict]] = {name: [] for name in trees}
    with tempfile.TemporaryDirectory() as folder:
        shared = [str(next(iter(trees.values()))), str(args.data.resolve()), folder, str(args.threads), *args.options]
        trainers = {}
        for name, tree in trees.items():  # the first one leaves its weights for the other
            trainers[name] = Trainer(tree, shared)
            trainers[name].answer()
        first = {name: trainer.run(args.warmup)['losses'] for name, trainer in trainers.items()}
        for _ in range(args.rounds):
            for name, trainer in trainers.items():
                found[name].append(trainer.run(args.steps)['seconds'])
        kinds = {name: trainer.run(2, profile=True)['kinds'] for name, trainer in trainers.items() if args.profile}
        for trainer in trainers.values():
            trainer.end()
    report(args, found, first, kinds)


def report(args: argparse.Namespace, found: dict[str, list[dict]], first: dict, kinds: dict) -> None:
    from mmuniqrnet.utils.tables import text_table

    base = next(iter(found))
    rows = []
    for name, rounds in found.items():
        for part in rounds[0]:
            ms = [1e3 * one[part] / args.steps for one in rounds]
            rows.append(dict(version=name, part=part, ms=statistics.median(ms), least=min(ms), most=max(ms)))
            if len(found) > 1:
                of_base = [one[part] / two[part] for one, two in zip(rounds, found[base]) if two.get(part)]
                rows[-1]['ratio'] = statistics.median(of_base) if of_base else None
    print(f'training step of {CONFIG}, {args.threads} thread(s), {args.rounds} rounds of {args.steps} steps:')
    print(text_table(rows, decimals=dict(ms=1, least=1, most=1)))
    if len(found) > 1:
        worst = [abs(a / b - 1) for a, b in zip(*first.values())]
        print('relative difference of the losses of the first steps: ' + ' '.join(f'{value:.1e}' for value in worst))
    if kinds:
        names = sorted({kind for of in kinds.values() for kind in of}, key=lambda kind: -kinds[base].get(kind, 0))
        print('milliseconds of a step by kind of operation, by the profiler, which slows it down:')
        print(text_table([{'kind': k} | {n: of.get(k, 0.0) for n, of in kinds.items()} for k in names]))
    if args.json:
        content = dict(arguments=sys.argv[1:], rows=rows, rounds=found, losses=first, kinds=kinds)
        args.json.write_text(json.dumps(content, indent=1))


if __name__ == '__main__':
    main()
