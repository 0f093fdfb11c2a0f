"""Command-line arguments that several tools have in common."""

import argparse
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

CFG_OPTIONS_HELP = (
    'override entries of the config. Nested keys are joined by dots, list elements are named by their index: '
    'train_dataloader.batch_size=8 custom_hooks.0.strategy=dwa. A list is written as key=1,2 or key=[1,2], '
    'a list of tuples as key="[(1,2),(3,4)]", without spaces'
)


class _Options(DictAction):
    """mmengine's action, which names the option that it cannot read."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        for option in values or ():
            key, equals, _ = option.partition('=')
            if not equals or not all(key.split('.')):
                raise argparse.ArgumentError(
                    self, f'{option!r} is not KEY=VALUE, as in optim_wrapper.optimizer.lr=5e-5'
                )
            try:
                super().__call__(parser, namespace, [option], option_string)
            except (AssertionError, ValueError) as error:
                raise argparse.ArgumentError(self, f'the value of {option!r} cannot be read: {error}') from None


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``, which ``load_config`` takes as ``options``."""
    parser.add_argument('--cfg-options', nargs='+', action=_Options, metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)


def add_source_and_target(parser: argparse.ArgumentParser, source: str, target: str) -> None:
    """Add ``SRC DST --overwrite`` of a tool that converts a file.

    Args:
        parser: The parser of the tool.
        source: Help text of SRC.
        target: Help text of DST.
    """
    parser.add_argument('source', metavar='SRC', help=source)
    parser.add_argument('target', metavar='DST', help=target)
    parser.add_argument('--overwrite', action='store_true', help='replace DST if it exists')


def positive_int(text: str) -> int:
    """A ``type`` of argparse: an integer of at least 1.

    Raises:
        argparse.ArgumentTypeError: The text is none.
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not an integer of at least 1')
    return value
