"""``mmuniqrnet ground --ray``: the checks before Ray starts, and the report at the end."""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from mmengine.utils import ProgressBar

from mmuniqrnet.apis.inferencer import UniQRNetInferencer
from mmuniqrnet.apis.shipped import shipped_weights
from mmuniqrnet.checkpoints.carried_config import inference_config
from mmuniqrnet.config import load_config
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.hub import hub_checkpoint, is_hub_address
from mmuniqrnet.utils.shipped import SHIPPED
from mmuniqrnet.version import __version__

from .job import Job
from .needs import require_ray
from .rows import RowSource
from .running import Resources, run_job
from .worker import SECONDS


def ground_at_scale(args: argparse.Namespace) -> tuple[list[str], int]:
    """Answer the rows that are not answered yet.

    Args:
        args: Of ``mmuniqrnet ground``.

    Returns:
        Lines for the user, and the exit status: 1 if an image or an expression has an error, 130 after Ctrl+C.

    Raises:
        UserError: The input, the options or the model cannot be used, or Ray is not installed.
    """
    require_ray()
    if args.batch_size < 1:
        raise UserError(f'--batch-size should be a positive number of expressions, not {args.batch_size}.')
    if args.part_rows is not None and args.part_rows < 1:
        raise UserError(f'--part-rows should be a positive number of rows, not {args.part_rows}.')
    cpus = 1 if args.cpus_per_worker is None else args.cpus_per_worker
    resources = Resources(args.workers, cpus, args.gpus_per_worker, args.address)
    source = RowSource(args.image, args.expressions, args.images)
    # On the CPU, to find out before Ray starts whether the model can be used.
    ask = UniQRNetInferencer(args.config, args.weights, 'cpu', show_progress=False)
    job = Job.create(args.out, source, _made_from(args), source.root, args.part_rows)
    name, made_for = ask.name, ask.made_for
    del ask
    if made_for:
        note = f'the model {name} was made for {made_for}; its answers about other pictures are guesses'
        if args.weights is None:
            note += '; the model shapes answers about scenes that "mmuniqrnet scene" made'
        print(f'note: {note}.', file=sys.stderr)
    options = dict(
        model=_absolute(args.config),
        weights=_absolute(args.weights),
        batch_size=args.batch_size,
        refuse_below=args.refuse_below,
        orientation=args.orientation,
    )
    found = [job.summary_of(part) for part in range(job.parts)]
    before = [summary for summary in found if summary is not None]
    bar = ProgressBar(job.parts - len(before), file=sys.stderr) if sys.stderr.isatty() else None
    start, now = time.perf_counter(), []
    try:
        for summary in run_job(job, options, resources):
            now.append(summary)
            if bar is not None:
                bar.update()
    except KeyboardInterrupt:
        return [f'{job.folder}: stopped; the same command goes on with the parts that are not complete.'], 130
    finally:
        if bar is not None:
            print(file=sys.stderr)
    errors = sum(summary['errors'] for summary in [*before, *now])
    return _report(job, before, now, errors, time.perf_counter() - start), int(errors > 0)


def _report(job: Job, before: list[dict], now: list[dict], errors: int, seconds: float) -> list[str]:
    lines = []
    if before:
        lines.append(f'{len(before)} of {job.parts} parts were complete before.')
    if now:
        answers = sum(int(summary['answers']) for summary in now)
        lines.append(f'{answers} answers in {seconds:.1f} s, {answers / seconds:.1f} a second, with the start of Ray.')
        spent = {kind: sum(float(summary[kind]) for summary in now) for kind in SECONDS}
        shares = ', '.join(f'{100 * spent[kind] / sum(spent.values()):.0f} % {kind}' for kind in SECONDS)
        lines.append(f"The workers' time: {shares}.")
    lines.append(f'{job.folder}: {job.answers} answers in {job.parts} parts, {errors} of them with an error.')
    return lines


def _made_from(args: argparse.Namespace) -> dict[str, Any]:
    """What the answers depend on besides the rows."""
    digest = hashlib.sha256(_weights_content(args.weights))
    config = None
    if args.config is not None:
        values = inference_config(load_config(args.config)).to_dict()
        config = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
    return dict(
        weights_sha256=digest.hexdigest(),
        config_sha256=config,
        refuse_below=args.refuse_below,
        orientation=args.orientation,
        version=__version__,
    )


def _weights_content(weights: str | None) -> bytes:
    """The bytes of the weights; of those of a web server, only the address is known here."""
    if weights is None:  # each of them may answer
        return b''.join(shipped_weights(name).read_bytes() for name in SHIPPED)
    if weights in SHIPPED:
        return shipped_weights(weights).read_bytes()
    if is_hub_address(weights):
        return hub_checkpoint(weights).read_bytes()
    return weights.encode() if '://' in weights else Path(weights).expanduser().read_bytes()


def _absolute(path: str | None) -> str | None:
    """Workers have other working folders; an address, or the name of a shipped model, is the same for all."""
    return path if path is None or path in SHIPPED or '://' in path else str(Path(path).expanduser().absolute())
