"""Weights to give away: one safetensors file that knows its config, and what made it."""

import json
from pathlib import Path

from mmuniqrnet.checkpoints.carried_config import config_of, inference_config
from mmuniqrnet.checkpoints.file_io import read_checkpoint, state_dict_of, write_checkpoint
from mmuniqrnet.config import load_config
from mmuniqrnet.evaluation.report import MARK
from mmuniqrnet.utils.errors import CheckpointError, UserError
from mmuniqrnet.utils.io import refuse_overwriting
from mmuniqrnet.version import __version__


def publish(
    source: str | Path,
    target: str | Path,
    config: str | Path | None = None,
    command: str | None = None,
    results: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, str]:
    """Write the weights of a training as ``.safetensors``, with a config that stands by itself.

    Optimiser, history and the rest stay behind. Of a training with mmengine's ``EMAHook`` the averaged weights are
    taken: the hook saves them as ``state_dict``, and the last step's, which it needs to go on, as ``ema_state_dict``.

    Args:
        source: A checkpoint of mmengine's.
        target: The file to write, ``.safetensors``.
        config: The config of the training; None = the one that the checkpoint holds.
        command: The command that made the weights.
        results: ``results.json`` of ``tools/test.py``.
        overwrite: Whether the target may be there already.

    Returns:
        The metadata of the file: ``config``, ``mmuniqrnet_version``, ``weights`` (whether they are averaged)
        and, as far as they are known, ``command``, ``seed`` and ``figures``.

    Raises:
        UserError: If a file can't be read, or has not what is needed, or the target can't be written.
    """
    target = refuse_overwriting(target, overwrite)
    if target.suffix != '.safetensors':
        raise CheckpointError(f'{target}: published weights are safetensors; give a name that ends in .safetensors.')
    checkpoint = read_checkpoint(source)
    state = state_dict_of(checkpoint, source)
    meta = checkpoint.get('meta') or {}
    known = dict(
        config=_config_text(source, config, checkpoint),
        command=command,
        seed=meta.get('seed'),
        figures=None if results is None else _rows(results),  # the key that weights of all versions have
        weights='averaged over the training (EMA)' if 'ema_state_dict' in checkpoint else 'as trained',
        mmuniqrnet_version=__version__,
    )
    metadata = {name: str(value) for name, value in known.items() if value is not None}
    write_checkpoint(dict(meta=metadata, state_dict=state), target)
    return metadata


def _config_text(source: str | Path, config: str | Path | None, checkpoint: dict) -> str:
    cfg = config_of(checkpoint, source) if config is None else load_config(str(config))
    if cfg is None:
        raise UserError(f'{source} does not hold its config; give the one that it was trained with (--config).')
    return inference_config(cfg).pretty_text


def _rows(path: str | Path) -> str:
    """The rows of a report as one line of JSON, without its facts, which contain paths."""
    try:
        report = json.loads(Path(path).read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise UserError(f'there is no results file {path}.') from None
    except ValueError as error:
        raise UserError(f'{path} is not JSON ({error}): give the results.json that tools/test.py wrote.') from None
    if not isinstance(report, dict) or report.get('written_by') != MARK:
        raise UserError(f'{path} is not a report of mmuniqrnet: give the results.json that tools/test.py wrote.')
    return json.dumps(report['rows'], ensure_ascii=False)
