"""What the tools share: reading a config, and saying errors in one sentence."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

from mmuniqrnet import registry  # noqa: F401  (the registries must exist before a config's default_scope is set)


class UserError(Exception):
    """Something that the user can mend, said in one sentence; the tools print it without a trace."""


def load_config(path: str, options: dict | None = None, work_dir: str | None = None) -> Config:
    """Read a config file, apply ``--cfg-options`` and settle the work dir (``work_dirs/<config's name>`` if not given).

    Raises:
        UserError: If there is no such file, or it can't be read.
    """
    if not Path(path).is_file():
        near = sorted(p.name for p in Path(path).parent.glob('*.py')) if Path(path).parent.is_dir() else []
        hint = f'; {Path(path).parent or "."} has {", ".join(near)}' if near else ''
        raise UserError(f'there is no config {path}{hint}.')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:
        raise UserError(f'the config {path} can not be read: {type(error).__name__}: {error}') from error
    if options:
        cfg.merge_from_dict(options)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(path).stem)
    return cfg


def sentence_of(error: BaseException) -> str | None:
    """What this package said about the user's input; None if the error is another one, whose trace is wanted.

    mmengine raises what a constructor raised anew, with a prefix: the first error in the chain counts.
    """
    while error.__context__ is not None and not error.__suppress_context__:
        error = error.__context__
    frames = traceback.extract_tb(error.__traceback__)
    ours = frames and Path(frames[-1].filename).is_relative_to(Path(__file__).parent)
    if isinstance(error, UserError) or (ours and isinstance(error, (ValueError, FileNotFoundError, FileExistsError))):
        return str(error)
    return None


def run_tool(main: Callable[[], object]) -> None:
    """Run a tool's ``main``; what the user can mend ends in one sentence (and a trace if MMUNIQRNET_TRACE is set)."""
    try:
        main()
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None or os.environ.get('MMUNIQRNET_TRACE'):
            raise
        sys.exit(f'error: {sentence}')
