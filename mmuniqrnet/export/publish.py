"""Publishing weights: one safetensors file that contains its config and how it was made."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from torch import Tensor

from mmuniqrnet.apis.reading import words_of
from mmuniqrnet.checkpoints.carried_config import config_of, inference_config
from mmuniqrnet.checkpoints.file_io import read_checkpoint, state_dict_of, write_checkpoint
from mmuniqrnet.config import load_config
from mmuniqrnet.datasets.base import annotation_of
from mmuniqrnet.evaluation.report import MARK
from mmuniqrnet.utils.errors import CheckpointError, UserError
from mmuniqrnet.utils.io import refuse_overwriting
from mmuniqrnet.version import __version__

from .text_settings import with_text_settings


def publish(
    source: str | Path,
    target: str | Path,
    config: str | Path | None = None,
    command: str | None = None,
    results: str | Path | None = None,
    overwrite: bool = False,
    words: str | Path | None = None,
    words_from_data: bool = False,
    made_for: str | None = None,
    half: bool = False,
) -> dict[str, str]:
    """Write the weights of a training as ``.safetensors``, with a config that needs no other file.

    Optimiser state, history and the rest are left out. If mmengine's ``EMAHook`` was used, the averaged weights are
    written: the hook saves them as ``state_dict``, and those of the last step, needed to resume, as ``ema_state_dict``.

    Args:
        source: A checkpoint written by mmengine, or weights published before, whose metadata is kept as far as it is
            not given again.
        target: The file to write, ``.safetensors``.
        config: The config of the training; None = the one that the checkpoint holds.
        command: The command that made the weights.
        results: ``results.json`` of ``tools/test.py``.
        overwrite: Whether an existing target may be replaced.
        words: A text file with the expressions that the weights were trained on; its words are kept with them, so
            that the inferencer can report which words of an expression were not in the training text.
        words_from_data: Take these words from the training data of the config instead; the data must be present.
        made_for: The kind of pictures that the weights are for, in a few words.
        half: Whether matrices and kernels are written in float16, at half the size; biases, norms and buffers are not.
            Whatever loads the file has the type of the model, which is float32.

    Returns:
        The metadata of the file: ``config``, ``mmuniqrnet_version``, ``weights`` (whether they are averaged)
        and, as far as they are known, ``command``, ``seed``, ``figures``, ``words`` (sorted, separated by spaces) and
        ``made_for``.

    Raises:
        UserError: If a file can't be read or lacks something required, or the target can't be written.
    """
    target = refuse_overwriting(target, overwrite, reads=[source, words, results, config])
    if target.suffix != '.safetensors':
        raise CheckpointError(f'{target}: published weights are safetensors; give a name that ends in .safetensors.')
    if words is not None and words_from_data:
        raise UserError('the words come either from a file or from the training data; give only one of the two.')
    checkpoint = read_checkpoint(source)
    state = state_dict_of(checkpoint, source)
    meta = checkpoint.get('meta') or {}
    cfg = _config(source, config, checkpoint)
    # of weights that were published before, what is not given again is kept
    before = meta if Path(source).suffix == '.safetensors' else {}
    known = dict(
        config=with_text_settings(inference_config(cfg)).pretty_text,
        command=command or before.get('command'),
        words=_words(cfg, words, words_from_data) or before.get('words'),
        made_for=made_for or before.get('made_for'),
        seed=meta.get('seed'),
        figures=before.get('figures')
        if results is None
        else _rows(results),  # an old key, kept because published weights have it
        weights=before.get('weights') or _kind_of_weights(checkpoint),
        mmuniqrnet_version=__version__,
    )
    metadata = {name: str(value) for name, value in known.items() if value is not None}
    write_checkpoint(dict(meta=metadata, state_dict=_halved(state) if half else state), target)
    return metadata


def _halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with matrices and kernels in float16.

    Raises:
        UserError: If a value is beyond the range of float16.
    """
    out = {
        name: value.half() if value.ndim > 1 and value.is_floating_point() else value for name, value in state.items()
    }
    for name, value in out.items():
        if value.is_floating_point() and not value.isfinite().equal(state[name].isfinite()):
            raise UserError(f'{name} has values beyond the range of float16: publish without --half.')
    return out


def _kind_of_weights(checkpoint: dict) -> str:
    return 'averaged over the training (EMA)' if 'ema_state_dict' in checkpoint else 'as trained'


def _config(source: str | Path, config: str | Path | None, checkpoint: dict) -> Config:
    cfg = config_of(checkpoint, source) if config is None else load_config(str(config))
    if cfg is None:
        raise UserError(f'{source} does not hold its config; give the one that it was trained with (--config).')
    return cfg


def _words(cfg: Config, path: str | Path | None, from_data: bool) -> str | None:
    """The words of a file or of the training data, in their original spelling; None if neither is requested."""
    if from_data:
        texts = _training_texts(cfg)
    elif path is not None:
        texts = [_text(path)]
    else:
        return None
    found = sorted({word for text in texts for word in words_of(text)})
    if not found:
        raise UserError(f'{path or "the training data"} has no words; give the texts that the weights were trained on.')
    return ' '.join(found)


def _text(path: str | Path) -> str:
    try:
        return Path(path).expanduser().read_text(encoding='utf-8-sig')
    except FileNotFoundError:
        raise UserError(f'there is no file {path} with the words of the training text.') from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{path} cannot be read as text ({error}); give a text file in UTF-8.') from None


def _training_texts(cfg: Config) -> Iterable[str]:
    """The expressions of the data that the config trains on."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    if dataset is None:
        raise UserError(
            'the config has no train_dataloader.dataset, so it does not say which texts the weights were trained on; '
            'give the config of the training (--config), or the texts as a file (--words).'
        )
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmuniqrnet')):
        data = DATASETS.build(dataset)
    return (annotation_of(data, i)['text'] for i in range(len(data)))


def _rows(path: str | Path) -> str:
    """The rows of a report as one line of JSON, without its facts, which contain paths."""
    try:
        report = json.loads(Path(path).read_text(encoding='utf-8-sig'))
    except FileNotFoundError:
        raise UserError(f'there is no results file {path}.') from None
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror}): give the results.json of tools/test.py.') from None
    except ValueError as error:
        raise UserError(f'{path} is not JSON ({error}): give the results.json that tools/test.py wrote.') from None
    if not isinstance(report, dict) or report.get('written_by') != MARK:
        raise UserError(f'{path} is not a report of mmuniqrnet: give the results.json that tools/test.py wrote.')
    return json.dumps(report['rows'], ensure_ascii=False)
