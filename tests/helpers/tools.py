"""The scripts of tools/, run in this process: they are no package."""

import importlib.util
from types import ModuleType

from mmuniqrnet.utils.errors import run_tool

from .paths import ROOT


def load_tool(name: str) -> ModuleType:
    """A script by its path under tools/, without the suffix: ``train``, ``dataset_tools/verify``."""
    spec = importlib.util.spec_from_file_location(f'tools_{name.replace("/", "_")}', ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def end_of_tool(name: str, *arguments: object) -> str | int | None:
    """How a tool ends, in this process: None, or what ``sys.exit`` was called with, 'error: ...' for bad input.

    That every tool is run by ``run_tool`` as here, when it is started by itself, is a test of its own.
    """
    try:
        run_tool(lambda: load_tool(name).main([str(argument) for argument in arguments]))
    except SystemExit as error:
        return error.code
    return None


def run_dataset_tool(name: str, *arguments) -> int:
    """The exit status of a tool of tools/dataset_tools; errors of the user's are raised."""
    try:
        load_tool(f'dataset_tools/{name}').main([str(argument) for argument in arguments])
    except SystemExit as error:
        return error.code
    return 0
