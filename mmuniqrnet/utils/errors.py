"""Errors that the user can fix, and how the tools print them: one sentence, no trace."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


class UserError(ValueError):
    """Something that the user can fix, said in one sentence; the tools print it without a trace."""


class CheckpointError(UserError):
    """A checkpoint that can not be read, does not fit, or must not be written."""


class OverwriteError(UserError, FileExistsError):
    """A file or folder that exists and must not be replaced."""


def sentence_of(error: BaseException) -> str | None:
    """What this package said about the user's input; None if the error is another one, whose trace is wanted.

    mmengine raises what a constructor raised anew, with a prefix: the first error in the chain counts.
    """
    while error.__context__ is not None and not error.__suppress_context__:
        error = error.__context__
    frames = traceback.extract_tb(error.__traceback__)
    ours = frames and Path(frames[-1].filename).is_relative_to(PACKAGE)
    if isinstance(error, UserError) or (ours and isinstance(error, (ValueError, FileNotFoundError, FileExistsError))):
        return str(error)
    return None


def run_tool(main: Callable[[], object]) -> None:
    """Run a tool's ``main``; what the user can fix ends in one sentence (and a trace if MMUNIQRNET_TRACE is set)."""
    try:
        main()
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None or os.environ.get('MMUNIQRNET_TRACE'):
            raise
        sys.exit(f'error: {sentence}')


def first_line(error: BaseException) -> str:
    """The first line of an error's text; its type where there is none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
