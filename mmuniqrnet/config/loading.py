"""Reading a config file, as every tool does."""

import warnings
from pathlib import Path

from mmengine.config import Config

from mmuniqrnet import registry  # noqa: F401  (the registries must exist before a config's default_scope is set)
from mmuniqrnet.utils.errors import UserError

from .options import RUNNER_HOOKS, merge_options


def load_config(path: str, options: dict | None = None, work_dir: str | None = None) -> Config:
    """Read a config file, apply ``--cfg-options``, set ``work_dir``, and remove the hooks that are set to None.

    ``work_dir`` is the argument, else the config's own, else ``work_dirs/<name of the config>``.

    Raises:
        UserError: If there is no such file, it cannot be read, or an option is refused (see :func:`merge_options`).
    """
    if not Path(path).is_file():
        near = sorted(p.name for p in Path(path).parent.glob('*.py')) if Path(path).parent.is_dir() else []
        hint = f'; {Path(path).parent or "."} has {", ".join(near)}' if near else ''
        raise UserError(f'there is no config {path}{hint}.')
    try:
        with warnings.catch_warnings():
            # By default, Python does not show mmengine's warning about the old name of a base.
            warnings.filterwarnings('default', 'The config file', DeprecationWarning)
            cfg = Config.fromfile(path)
    except Exception as error:
        raise UserError(f'the config {path} cannot be read: {type(error).__name__}: {error}') from error
    if options:
        merge_options(cfg, options)
    remove_hooks_set_to_none(cfg)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(path).stem)
    return cfg


def remove_hooks_set_to_none(cfg: Config) -> None:
    """Remove entries of ``default_hooks`` that are None; mmengine does so for its own hooks, and fails at others."""
    hooks = cfg.get('default_hooks') or {}
    for name in [name for name, hook in hooks.items() if hook is None and name not in RUNNER_HOOKS]:
        hooks.pop(name)
