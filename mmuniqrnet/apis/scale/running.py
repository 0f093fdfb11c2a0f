"""Run a job on Ray: on this machine, or on a cluster."""

import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmuniqrnet.utils.errors import UserError

from .job import Job
from .needs import require_ray
from .parts import remove_unfinished
from .worker import PartWorker

# Ray keeps the list of blocks in memory, so a job of very many parts has several parts in each block.
MAX_BLOCKS = 2000
# Only numbers of parts and their summaries go through Ray's object store.
STORE_BYTES = 200 * 2**20


@dataclass(frozen=True)
class Resources:
    """How many workers, and what each of them gets.

    Attributes:
        workers: None = as many as fit.
        cpus: CPU cores of each worker, which is also its number of threads on a CPU.
        gpus: GPUs of each worker, such as 0.5 for two workers on each GPU; None = one, if there is any.
        address: Of a Ray cluster; None = a Ray of its own on this machine, for the time of the job.
    """

    workers: int | None = None
    cpus: float = 1
    gpus: float | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UserError(f'--workers {self.workers}: there should be at least one worker.')
        if self.cpus <= 0:
            raise UserError(f'--cpus-per-worker {self.cpus:g} should be greater than 0.')
        if self.gpus is not None and (self.gpus < 0 or (self.gpus > 1 and self.gpus % 1)):
            raise UserError(f'--gpus-per-worker {self.gpus:g} should be 0 to 1, or a whole number.')


def run_job(job: Job, options: Mapping[str, Any], resources: Resources) -> Iterator[dict[str, Any]]:
    """Answer the parts that are not complete.

    Args:
        job: What to answer.
        options: Arguments of :class:`mmuniqrnet.apis.scale.RayInferencer`, without ``device`` and ``threads``.
        resources: Where.

    Yields:
        For each part that is complete, in any order: ``part``, ``answers``, ``errors``, and the seconds of
        ``decoding``, ``network`` and ``writing``.

    Raises:
        UserError: Ray is not installed, there is no such cluster, it does not have the resources, or a worker can't
            read the model or write its answers.
    """
    require_ray()
    todo = [part for part in range(job.parts) if job.summary_of(part) is None]
    if todo:
        for part in todo:
            job.tries_of(part).unlink(missing_ok=True)  # of an earlier start, which may have been ended by its user
        with _ray(resources):
            yield from _results(job, todo, options, resources)
    remove_unfinished(job.folder)


def _results(job: Job, todo: list[int], options: Mapping[str, Any], resources: Resources) -> Iterator[dict[str, Any]]:
    import ray
    from ray.data import ActorPoolStrategy

    workers, gpus = _fitted(resources, ray.cluster_resources(), len(todo))
    options = dict(options, device='cuda:0' if gpus else 'cpu', threads=max(1, int(resources.cpus)))
    dataset = ray.data.from_items([dict(part=part) for part in todo], override_num_blocks=min(len(todo), MAX_BLOCKS))
    done = dataset.map_batches(
        PartWorker,
        fn_constructor_args=(str(job.folder), options),
        batch_size=1,
        compute=ActorPoolStrategy(size=workers),
        num_cpus=resources.cpus,
        num_gpus=gpus,
    )
    for summary in done.iter_rows():
        if summary['problem']:
            raise UserError(summary['problem'])
        yield summary


def _fitted(resources: Resources, there: Mapping[str, float], parts: int) -> tuple[int, float]:
    """The number of workers, and the GPUs of each.

    Raises:
        UserError: There is not enough for one worker, or on this machine for as many as are wanted.
    """
    gpus = resources.gpus if resources.gpus is not None else float(there.get('GPU', 0) >= 1)
    fit = int(there.get('CPU', 0) / resources.cpus)
    if gpus:
        fit = min(fit, int(there.get('GPU', 0) / gpus))
    if fit < (resources.workers or 1):
        has = f'{there.get("CPU", 0):g} CPU cores and {there.get("GPU", 0):g} GPUs'
        raise UserError(
            f'Ray has {has}, which is not enough for {resources.workers or 1} workers with {resources.cpus:g} CPU '
            f'cores and {gpus:g} GPUs each.'
        )
    return min(resources.workers or fit, parts), gpus


@contextmanager
def _ray(resources: Resources) -> Iterator[None]:
    """A Ray to work on: the one that this process uses already, the cluster, or one that ends with the block."""
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')  # Ray would send statistics
    os.environ.setdefault('RAY_BACKEND_LOG_LEVEL', 'fatal')  # it warns of Ray Data's own arguments of an actor
    import ray
    import ray.data

    logging.getLogger('ray.data').setLevel(logging.ERROR)  # after the import, which sets it
    if ray.is_initialized():
        yield
        return
    common: dict[str, Any] = dict(logging_level='ERROR', log_to_driver=False)
    try:
        if resources.address is None:
            # More workers than cores is the user's decision.
            cores = None if resources.workers is None else math.ceil(resources.workers * resources.cpus)
            ray.init('local', num_cpus=cores, include_dashboard=False, object_store_memory=STORE_BYTES, **common)
        else:
            ray.init(resources.address, **common)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = 'on this machine' if resources.address is None else f'at {resources.address}'
        raise UserError(f'Ray does not start {where}: {str(error).splitlines()[0]}') from None
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()
