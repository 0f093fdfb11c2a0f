"""Reading a config file, as every tool does."""

import warnings
from pathlib import Path

from mmengine.config import Config

from mmuniqrnet import registry  # noqa: F401  (the registries must exist before a config's default_scope is set)
from mmuniqrnet.utils.errors import UserError

from .options import merge_options


def load_config(path: str, options: dict | None = None, work_dir: str | None = None) -> Config:
    """Read a config file, apply ``--cfg-options`` and settle the work dir (``work_dirs/<config's name>`` if not given).

    Raises:
        UserError: If there is no such file, it can't be read, or an option is refused (see :func:`merge_options`).
    """
    if not Path(path).is_file():
        near = sorted(p.name for p in Path(path).parent.glob('*.py')) if Path(path).parent.is_dir() else []
        hint = f'; {Path(path).parent or "."} has {", ".join(near)}' if near else ''
        raise UserError(f'there is no config {path}{hint}.')
    try:
        with warnings.catch_warnings():
            # Python would not show what mmengine says of the old name of a base.
            warnings.filterwarnings('default', 'The config file', DeprecationWarning)
            cfg = Config.fromfile(path)
    except Exception as error:
        raise UserError(f'the config {path} can not be read: {type(error).__name__}: {error}') from error
    if options:
        merge_options(cfg, options)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(path).stem)
    return cfg
