"""The actor that answers the parts of a job and writes them."""

import os
import platform
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from mmuniqrnet.apis.inputs import Question
from mmuniqrnet.apis.outputs import failure
from mmuniqrnet.utils.errors import UserError, sentence_of

from .inferencer import RayInferencer
from .job import Job
from .parts import answer_table, write_part
from .rows import Row

# After as many processes have ended in a part, its images are answered one by one, to find the one that ends them.
PATIENCE = 2
ALL, ONE = 'all', 'one by one'


class PartWorker:
    """Answers parts of a job, and writes each of them; a callable class for ``ray.data.Dataset.map_batches``.

    If Ray gives it a part again, because a process ended before it could report, the part is answered again only if it
    is not complete. An image that ends the process, such as one that takes more memory than there is, would end every
    process that Ray starts in its place; after several of them, such an image gets an error for an answer.

    Args:
        folder: The folder of the job.
        options: Arguments of :class:`RayInferencer`.
    """

    def __init__(self, folder: str, options: Mapping[str, Any]) -> None:
        self.problem = ''
        self.job = Job(folder)
        try:
            self.inferencer = RayInferencer(root=self.job.root, **options)
        except UserError as error:
            # Ray would raise another error, without the sentence.
            self.problem = sentence_of(error) or ''

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, list]:
        """Answer the parts whose numbers are in ``part``.

        Returns:
            Columns: ``part``; ``answers`` and ``errors``, their numbers; the seconds of ``decoding``, ``network`` and
            ``writing``; and ``problem``, a sentence for the user if the job cannot go on, otherwise empty.
        """
        summaries = [self._summary(int(part)) | dict(part=int(part)) for part in batch['part']]
        return {key: [summary[key] for summary in summaries] for key in COLUMNS}

    def _summary(self, part: int) -> dict[str, Any]:
        nothing = dict(answers=0, errors=0, problem='', **dict.fromkeys(SECONDS, 0.0))
        if self.problem:
            return nothing | dict(problem=self.problem)
        try:
            return nothing | (self.job.summary_of(part) or self._work(part))
        except UserError as error:
            return nothing | dict(problem=sentence_of(error))

    def _work(self, part: int) -> dict[str, Any]:
        start, decoding = perf_counter(), self.inferencer.decoding.seconds
        rows, tries = self.job.rows_of(part), Tries(self.job.tries_of(part))
        if tries.count() < PATIENCE:
            tries.begin(ALL)
            answers = self.inferencer.answer(rows)
        else:
            answers = self._one_by_one(rows, tries)
        answered, decoded = perf_counter(), self.inferencer.decoding.seconds - decoding
        summary = dict(job=self.job.id, answers=len(answers), errors=sum('error' in answer for answer in answers))
        write_part(self.job.path_of(part), answer_table(answers), summary)
        tries.forget()
        seconds = (decoded, answered - start - decoded, perf_counter() - answered)
        return summary | dict(zip(SECONDS, seconds))

    def _one_by_one(self, rows: list[Row], tries: 'Tries') -> list[dict[str, Any]]:
        """The answers, with an error for each row at which a process ended before."""
        answers = []
        ended = tries.ended_at()
        tries.begin(ONE)
        for row in rows:
            if row.row in ended:
                answers += [
                    dict(failure(Question(row.image, 0, text), ENDED), key=f'{row.row}_{n}')
                    for n, text in enumerate(row.expressions)
                ]
                continue
            tries.begin(str(row.row))
            answers += self.inferencer.answer([row])
        return answers


# What the seconds of a worker are spent on.
SECONDS = ('decoding', 'network', 'writing')
COLUMNS = ('part', 'answers', 'errors', 'problem', *SECONDS)

ENDED = (
    f'the process that worked on this image ended, after {PATIENCE} others had ended near it (not enough memory, for '
    'example).'
)


class Tries:
    """What the processes that worked on a part have begun, in a file that outlives them.

    Args:
        path: The file. Each line is the process, and ``all``, ``one by one`` or the number of a row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, what: str) -> None:
        with open(self.path, 'a') as file:
            file.write(f'{platform.node()}:{os.getpid()}\t{what}\n')

    def count(self) -> int:
        """How many processes have begun all rows together."""
        return self._lines().count(ALL)

    def ended_at(self) -> set[int]:
        """The rows at which processes ended that answered one row after the other."""
        lines = self._lines()
        return {int(line) for line, after in pairwise([*lines, ONE]) if line.isdigit() and after == ONE}

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)

    def _lines(self) -> list[str]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [line.partition('\t')[2] for line in lines]
