"""Errors that the user can fix, and how the tools print them: one sentence, no trace."""

import os
import re
import sys
from collections.abc import Callable

from .job import end_in_job, in_job, print_stacks_on_signal


class UserError(ValueError):
    """Something that the user can fix, described in one sentence; the tools print it without a trace."""


class CheckpointError(UserError):
    """A checkpoint that can not be read, does not fit, or must not be written."""


class OverwriteError(UserError, FileExistsError):
    """A file or folder that exists and must not be replaced."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that was given and does not exist."""


# torch raises an error of a data loader's worker again in the main process: same type, with the trace as its text.
_OF_WORKER = re.compile(
    r'Caught (?P<type>\w+) in .*?\nOriginal Traceback .*\n[\w.]*(?P=type): (?P<sentence>.+)', re.DOTALL
)


def sentence_of(error: BaseException) -> str | None:
    """The sentence of a :class:`UserError`; None for any other error, whose trace is wanted.

    If a constructor raises an error, mmengine raises another one of the same type, with a prefix before the message;
    the original message, without the prefix, is returned. Our own code also adds text, such as a file name, to a
    message, but it raises ``from None``, so that the longer message is returned.
    """
    if not isinstance(error, UserError):
        return None
    while not error.__suppress_context__ and isinstance(error.__context__, UserError):
        if not str(error).endswith(str(error.__context__)):
            break
        error = error.__context__
    from_worker = _OF_WORKER.match(str(error))
    return from_worker['sentence'].strip() if from_worker else str(error)


def run_tool(main: Callable[[], object]) -> None:
    """Run a tool's ``main``; print a :class:`UserError` as one sentence (with a trace if MMUNIQRNET_TRACE is set).

    In a process of a distributed job it does not return, see :func:`~mmuniqrnet.utils.job.end_in_job`.
    """
    print_stacks_on_signal()
    try:
        main()
    except BaseException as error:
        if in_job():
            end_in_job(error, sentence_of)
        sentence = sentence_of(error)
        if sentence is None or os.environ.get('MMUNIQRNET_TRACE'):
            raise
        sys.exit(f'error: {sentence}')
    if in_job():
        end_in_job(None, sentence_of)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the name of its type if the text is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
