"""The work of the scripts in tools/model_converters: read, convert, report, and write what fits."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from mmuniqrnet.checkpoints import qrnet, swin
from mmuniqrnet.checkpoints.carried_config import HIDDEN_OPTIONS, config_of, hidden_options
from mmuniqrnet.checkpoints.file_io import read_checkpoint, state_dict_of, write_checkpoint
from mmuniqrnet.checkpoints.fit import FitReport, compare_state_dicts, require_fit
from mmuniqrnet.checkpoints.loading import NEW_IN_SWIN, backbone_weights
from mmuniqrnet.models import QRNetSwin
from mmuniqrnet.utils.errors import CheckpointError
from mmuniqrnet.utils.io import refuse_overwriting
from mmuniqrnet.version import __version__

from .expected_tensors import uniqrnet_tensors

# The key under which our file keeps these tensors, so that converting back gives exactly the published file.
LEFT_OUT = 'left_out_of_qrnet'


def convert_qrnet(source: str | Path, target: str | Path, overwrite: bool = False, share: float = 0.95) -> FitReport:
    """A published QRNet file as a checkpoint of ``UniQRNet``, for ``load_from``.

    The tensors that QRNet itself does not use are kept separately in the file, under ``left_out_of_qrnet``.

    Args:
        source: The published file.
        target: The file to write.
        overwrite: Whether the target may be there already.
        share: The share of the backbone's tensors that must match.

    Raises:
        CheckpointError: If the source is something else or incomplete, or the target can't be written.
    """
    target = refuse_overwriting(target, overwrite)
    state = state_dict_of(read_checkpoint(source), source)
    if not qrnet.is_qrnet(state):
        raise CheckpointError(
            f'{source} is not a published QRNet file: none of its tensors is under visumodel.backbone; '
            f'the names begin with {", ".join(list(state)[:3])}.'
        )
    out, left_out, unexpected = qrnet.to_uniqrnet(state)
    with _named(source):
        fit = _fit(out, uniqrnet_tensors(out, additions=True), left_out, unexpected)
    require_fit(fit, 'backbone.', share, str(source))
    write_checkpoint(dict(meta=_meta('QRNet'), state_dict=out, **{LEFT_OUT: left_out}), target)
    return fit


def convert_to_qrnet(source: str | Path, target: str | Path, overwrite: bool = False, share: float = 0.95) -> FitReport:
    """A checkpoint of ``UniQRNet`` as a published QRNet file; mask, score and guidance are left out.

    The modules that QRNet's code has but does not use (RPN, BERT's pooler) are in the file only if the source was
    converted from a published one. If it was saved by training, QRNet's code has to load it with ``strict=False``.

    Args:
        source: A checkpoint of ``UniQRNet``.
        target: The file to write.
        overwrite: Whether the target may be there already.
        share: The share of the backbone's tensors that must match.

    Raises:
        CheckpointError: If the source is something else, is incomplete, has tensors without a counterpart in QRNet or a
            config with options that QRNet does not have, or the target can't be written.
    """
    target = refuse_overwriting(target, overwrite)
    checkpoint = read_checkpoint(source)
    state = state_dict_of(checkpoint, source)
    model = (config_of(checkpoint, source) or {}).get('model') or {}
    for option, value in hidden_options(model).items():
        # The number of heads is an option of QRNet's, too (--vl_nheads).
        if value != HIDDEN_OPTIONS[option] and option != 'head.encoder.num_heads':
            raise CheckpointError(
                f'{source}: its config has model.{option}={value!r}, which QRNet does not have, so its answers would '
                'differ; only models with the published architecture can be converted back.'
            )
    out, left_out, unexpected = qrnet.to_published(state)
    if unexpected:
        raise CheckpointError(
            f'{source}: QRNet has no counterpart for {len(unexpected)} of its tensors, such as '
            f'{", ".join(unexpected[:3])}; only models with the published architecture can be converted back.'
        )
    with _named(source):
        fit = _fit(
            {name: value for name, value in state.items() if name not in left_out},
            uniqrnet_tensors(state),
            left_out,
            unexpected,
        )
    require_fit(fit, 'backbone.', share, str(source))
    write_checkpoint(dict(model=out | checkpoint.get(LEFT_OUT, {})), target)
    return fit


def convert_swin(
    source: str | Path,
    target: str | Path,
    overwrite: bool = False,
    share: float = 0.95,
    layout: str = 'auto',
    window_size: int | None = None,
) -> FitReport:
    """A Swin of any known layout as a backbone's checkpoint (``backbone.*``, mmdet's layout), for ``init_cfg``.

    Args:
        source: A classifier, a detector or a backbone.
        target: The file to write.
        overwrite: Whether the target may be there already.
        share: The share of the backbone's tensors that must match.
        layout: As in :func:`mmuniqrnet.checkpoints.swin.to_mmdet`.
        window_size: Interpolate the bias tables for windows of that many tokens.

    Raises:
        CheckpointError: If the source is not a Swin or is incomplete, or the target can't be written.
    """
    target = refuse_overwriting(target, overwrite)
    state = state_dict_of(read_checkpoint(source), source)
    with _named(source):
        out, left_out, unexpected = backbone_weights(state, layout)
        settings = swin.swin_settings(out)
    if window_size is not None:
        settings |= dict(window_size=window_size)
    # The report only names the gates, so the width of the text features does not matter here.
    reference = QRNetSwin(text_dim=1, gate_rank=1, **settings).state_dict()
    if window_size is not None:
        out, _ = swin.resize_windows(out, reference)
    out = {name: value for name, value in out.items() if not name.startswith('gates.')}
    fit = _fit(
        {f'backbone.{name}': value for name, value in out.items()},
        {f'backbone.{name}': value for name, value in reference.items()},
        left_out,
        unexpected,
        [f'backbone.{prefix}' for prefix in NEW_IN_SWIN],
    )
    require_fit(fit, 'backbone.', share, str(source))
    write_checkpoint(
        dict(meta=_meta('Swin'), state_dict={f'backbone.{name}': value for name, value in out.items()}), target
    )
    return fit


@contextmanager
def _named(source: str | Path) -> Iterator[None]:
    """Add the name of the file to error messages."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f'{source}: {error}') from None


def _fit(
    state: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    left_out: Mapping[str, Tensor],
    unexpected: list[str],
    new: list[str] | None = None,
) -> FitReport:
    fit = compare_state_dicts(state, reference, left_out=left_out, **({} if new is None else dict(new=new)))
    fit.unexpected.extend(unexpected)
    return fit


def _meta(source: str) -> dict[str, str]:
    return dict(converted_from=source, mmuniqrnet_version=__version__)
