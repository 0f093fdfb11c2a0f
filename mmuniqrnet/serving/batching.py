"""The queue of requests, and the thread that answers them in batches."""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmuniqrnet.apis.outputs import refuse
from mmuniqrnet.utils.errors import UserError

from .errors import RequestError, stopping
from .limits import Limits
from .metrics import Metrics
from .models import Prediction, ServedModel
from .reading import Asked
from .uploads import decode_picture

LOG = logging.getLogger('mmuniqrnet.serving')


@dataclass(eq=False)
class Job:
    """A request in the queue.

    Attributes:
        asked: What it asks.
        answer: Gets the predictions, or a :class:`RequestError`; it belongs to ``loop``.
        loop: The event loop of the request.
        dropped: Whether nobody waits for the answer any more.
    """

    asked: Asked
    answer: 'asyncio.Future[list[Prediction]]'
    loop: asyncio.AbstractEventLoop
    dropped: bool = field(default=False, init=False)

    def finish(self, result: list[Prediction] | RequestError) -> None:
        """Hand over the result, from any thread."""
        try:
            self.loop.call_soon_threadsafe(self._set, result)
        except RuntimeError:  # the loop has ended, and with it all connections
            self.dropped = True

    def _set(self, result: list[Prediction] | RequestError) -> None:
        if self.answer.done():
            return
        if isinstance(result, RequestError):
            self.answer.set_exception(result)
        else:
            self.answer.set_result(result)


class Batcher:
    """A queue of limited length, and one thread that runs the model.

    The thread takes the first request and those that arrive within ``limits.wait`` seconds after it was free to take
    it, in their order, up to ``limits.batch`` expressions and ``limits.batch_pixels``. Requests with the same picture
    file are asked together, so that it is decoded and encoded once.

    Args:
        model: What answers.
        limits: Sizes of queue and batch, and the waiting time.
        metrics: What is counted.
    """

    def __init__(self, model: ServedModel, limits: Limits, metrics: Metrics) -> None:
        self.model, self.limits, self.metrics = model, limits, metrics
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._seconds_per_job = 0.05  # a running mean
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name='model', daemon=True)
        metrics.queue.set_function(lambda: len(self._waiting))

    def start(self) -> None:
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs, and is not stuck in a batch whose requests have all been given up long ago."""
        since = self._busy_since
        return self._thread.is_alive() and (since is None or time.monotonic() - since < 4 * self.limits.timeout)

    def submit(self, job: Job) -> None:
        """Put a request at the end of the queue.

        Raises:
            RequestError: 503: the queue is full, or the server is stopping.
        """
        with self._changed:
            if self._closing:
                raise stopping()
            if len(self._waiting) >= self.limits.queue:
                seconds = max(1, math.ceil(len(self._waiting) * self._seconds_per_job))
                raise RequestError(
                    503, f'{len(self._waiting)} requests are waiting already: try again in {seconds} s.', seconds
                )
            self._waiting.append(job)
            self._changed.notify()

    def drop(self, job: Job) -> None:
        """Nobody waits for this answer: take the request out of the queue, if it is still there."""
        job.dropped = True
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                self.metrics.dropped.inc()

    def close(self, abandon: bool = False) -> None:
        """Take no more requests, and end the thread when those in the queue are answered, or given up (abandon)."""
        with self._changed:
            self._closing = True
            if abandon:
                self._waiting.clear()
            self._changed.notify()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        while (jobs := self._collect()) is not None:
            if not jobs:
                continue
            self._busy_since = start = time.monotonic()
            try:
                self._answer(jobs)
            except Exception:  # the thread has to survive whatever a request is made of
                LOG.exception('a batch could not be answered')
                for job in jobs:
                    job.finish(_internal())
            self._busy_since = None
            seconds = time.monotonic() - start
            self.metrics.batch_seconds.observe(seconds)
            self._seconds_per_job += 0.2 * (seconds / len(jobs) - self._seconds_per_job)

    def _collect(self) -> list[Job] | None:
        """The requests of the next batch; None at the end."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            if not self._waiting:
                return None
            until = time.monotonic() + self.limits.wait
            while not self._closing and not self._is_full() and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            jobs: list[Job] = []
            while self._waiting and self._fits(jobs, self._waiting[0]):
                jobs.append(self._waiting.popleft())
            return jobs

    def _is_full(self) -> bool:
        return sum(len(job.asked.expressions) for job in self._waiting) >= self.limits.batch

    def _fits(self, jobs: Sequence[Job], job: Job) -> bool:
        if not jobs:
            return True  # a request that is too large for a batch is one by itself
        all_jobs = [*jobs, job]
        return (
            sum(len(one.asked.expressions) for one in all_jobs) <= self.limits.batch
            and sum(len(one.asked.expressions) * one.asked.pixels for one in all_jobs) <= self.limits.batch_pixels
        )

    def _answer(self, jobs: Sequence[Job]) -> None:
        """Decode the pictures and ask the model; a picture that can't be decoded fails its own requests only."""
        pictures: dict[bytes, tuple[np.ndarray, list[Job]]] = {}
        broken: dict[bytes, RequestError] = {}
        for job in jobs:
            asked = job.asked
            if job.dropped:
                continue
            if asked.digest not in pictures and asked.digest not in broken:
                try:
                    pictures[asked.digest] = decode_picture(asked.content, asked.title, self.limits.picture), []
                except UserError as error:
                    broken[asked.digest] = RequestError(422, str(error))
            if asked.digest in broken:
                job.finish(broken[asked.digest])
            else:
                pictures[asked.digest][1].append(job)
        if not pictures:
            return
        groups = list(pictures.values())
        self.metrics.batch.observe(sum(len(job.asked.expressions) for _, group in groups for job in group))
        try:
            self._ask(groups)
        except Exception:
            # One of them may be at fault, or all together need more memory than there is.
            LOG.exception('a batch of %d requests failed; each is tried alone', sum(len(group) for _, group in groups))
            for picture, group in groups:
                for job in group:
                    self._ask_alone(picture, job)

    def _ask_alone(self, picture: np.ndarray, job: Job) -> None:
        try:
            self._ask([(picture, [job])])
        except Exception:
            LOG.exception('a request failed')
            job.finish(_internal())

    def _ask(self, groups: Sequence[tuple[np.ndarray, list[Job]]]) -> None:
        """Ask about pictures, each for all its requests, and hand over the answers."""
        texts = [[text for job in group for text in job.asked.expressions] for _, group in groups]
        largest = max(picture.shape[0] * picture.shape[1] for picture, _ in groups)
        batch_size = max(1, min(self.limits.batch, self.limits.batch_pixels // largest))
        found = self.model([picture for picture, _ in groups], texts, batch_size)
        for (_, group), predictions in zip(groups, found, strict=True):
            rest = iter(predictions)
            for job in group:
                own = [next(rest) for _ in job.asked.expressions]
                job.finish(self._as_asked(own, job.asked))
                self.metrics.expressions.inc(len(own))

    def _as_asked(self, predictions: Sequence[Prediction], asked: Asked) -> list[Prediction] | RequestError:
        """The predictions with the request's own name of the picture and its own threshold."""
        failed = [prediction['error'] for prediction in predictions if 'error' in prediction]
        if failed:
            return RequestError(500, f'The model gave no answer: {failed[0]}')
        below = self.model.refuse_below if asked.refuse_below is None else asked.refuse_below
        own: dict[str, Any] = dict(image=asked.name, image_index=0)
        return [prediction | own for prediction in refuse(predictions, below)]


def _internal() -> RequestError:
    return RequestError(500, "Internal error: the server's log says more.")
