"""Load a checkpoint into a model or a backbone; a checkpoint that does not fit is refused."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.logging import print_log
from mmengine.model import PretrainedInit, update_init_info
from torch import Tensor, nn

from mmuniqrnet.checkpoints import qrnet, swin
from mmuniqrnet.registry import WEIGHT_INITIALIZERS
from mmuniqrnet.utils.errors import CheckpointError

from .file_io import read_checkpoint, state_dict_of
from .fit import NEW_BY_DESIGN, FitReport, compare_state_dicts, part_of, require_fit

# What a checkpoint of a backbone may lack: the gates, and the norms of the stages' outputs, which a classifier lacks.
NEW_IN_SWIN = ('gates.', 'norm0.', 'norm1.', 'norm2.', 'norm3.')
# A neck's lateral convolutions, which QRNet's neck shares with the FPN of a detector.
LATERALS = 'lateral_convs.'


def load_swin(backbone: nn.Module, path: str | Path, layout: str = 'auto', share: float = 0.95) -> FitReport:
    """Initialise a ``QRNetSwin`` from a file, and log which tensors matched.

    The file may be in the layout of mmdet, timm or the original code, of a backbone or of a detector (``backbone.*``),
    or a published QRNet file. Bias tables are interpolated to the model's window size; gates that the file does not
    have keep their values.

    Args:
        backbone: The backbone.
        path: A file that :func:`read_checkpoint` can read.
        layout: As in :func:`mmuniqrnet.checkpoints.swin.to_mmdet`.
        share: The share of the backbone's tensors that must match; none may have another shape.

    Raises:
        CheckpointError: If the file does not fit.
    """
    return load_swin_of_detector(backbone, path, layout, share)[0]


def load_swin_of_detector(
    backbone: nn.Module, path: str | Path, layout: str = 'auto', share: float = 0.95
) -> tuple[FitReport, dict[str, Tensor]]:
    """The same as :func:`load_swin`; returns the lateral convolutions of the file's neck as well.

    Returns:
        The report, and the tensors ``lateral_convs.*`` for :func:`load_laterals`; none if the file has no neck.
    """
    reference = backbone.state_dict()
    try:
        converted = backbone_weights(state_dict_of(read_checkpoint(path), path), layout)
        state, resized = swin.resize_windows(converted.state, reference)
        fit = compare_state_dicts(state, reference, NEW_IN_SWIN, converted.left_out)
        fit.unexpected.extend(converted.unexpected)
        require_fit(fit, share=share, what='it', shapes=True)
    except CheckpointError as error:
        raise CheckpointError(f'init_cfg of {type(backbone).__name__}, {path}: {error}') from None
    backbone.load_state_dict({name: state[name] for name in fit.matched}, strict=False)
    log_fit(f'{type(backbone).__name__} from {path}', fit, resized)
    prefix = f'neck.{LATERALS}'
    laterals = {name: value for name, value in converted.left_out.items() if name.startswith(prefix)}
    return fit, {name.removeprefix('neck.'): value for name, value in laterals.items()}


def load_laterals(neck: nn.Module, laterals: Mapping[str, Tensor], path: str | Path) -> bool:
    """Load the lateral convolutions of a detector into a neck if all their names and shapes fit, and log it.

    A neck without lateral convolutions, or whose own do not fit, is not changed: a neck may have another width or other
    levels than the detector.

    Args:
        neck: The neck.
        laterals: Tensors ``lateral_convs.*``.
        path: The file that they are from, for the log.

    Returns:
        Whether they were loaded.
    """
    reference = {name: value for name, value in neck.state_dict().items() if name.startswith(LATERALS)}
    name = type(neck).__name__
    problem = compare_state_dicts(laterals, reference, new=()).problem()
    if problem is not None:
        print_log(
            f'{name}: the lateral convolutions of {path} do not fit and are left out: {problem}',
            logger='current',
            level=logging.WARNING,
        )
        return False
    neck.load_state_dict(dict(laterals), strict=False)
    print_log(f'{name}: {len(laterals)} tensors of lateral convolutions from {path}', logger='current')
    return True


def backbone_weights(state: Mapping[str, Tensor], layout: str = 'auto') -> swin.Converted:
    """The Swin of a checkpoint of any known kind, in mmdet's layout, its names without the prefix ``backbone.``."""
    others: dict[str, Tensor] = {}
    if qrnet.is_qrnet(state):
        state, others, _ = qrnet.to_uniqrnet(state)
        layout = 'mmdet'
    if any(name.startswith('backbone.') for name in state):
        others |= {name: value for name, value in state.items() if not name.startswith('backbone.')}
        state = {name.removeprefix('backbone.'): value for name, value in state.items() if name not in others}
    converted = swin.to_mmdet(state, layout)
    return converted._replace(left_out=others | converted.left_out)


def check_fit(
    state: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    *,
    share: float = 0.95,
    required: Sequence[str] | None = ('backbone', 'text_encoder'),
    new: Sequence[str] = NEW_BY_DESIGN,
    allow: Sequence[str] = (),
) -> FitReport:
    """Compare the weights of a checkpoint with a whole model, part by part.

    A part of which the checkpoint has any tensor must match; a part of which it has none is new, unless it is required.

    Args:
        state: The checkpoint's weights.
        reference: The model's state dict.
        share: The share of a part's tensors that must match.
        required: Parts that the checkpoint must have if the model does; None for all of them.
        new: Prefixes of what may be absent completely.
        allow: Prefixes of tensors that are not compared.

    Raises:
        CheckpointError: If a part does not fit, or the gates of file and model differ in ``gate_norm``.
    """
    allow = tuple(allow)
    ours, theirs = ({part_of(name) for name in names} for names in (reference, state))
    optional = (ours ^ theirs) - {'', *(ours if required is None else (f'{part}.' for part in required))}
    state = {name: value for name, value in state.items() if not name.startswith(allow)}
    reference = {name: value for name, value in reference.items() if not name.startswith(allow)}
    fit = compare_state_dicts(state, reference, [*new, *sorted(optional)])
    gate_norm = fit.gate_norm_problem()
    if gate_norm:
        raise CheckpointError(gate_norm)
    wrong = [
        f'{matched} of {total} tensors of {part[:-1] or "the model"} match ({fit.problem(part)})'
        for part in fit.parts()
        for matched, total in [fit.counts(part)]
        if matched < share * total
    ]
    wrong = wrong or [str(mismatch) for mismatch in fit.mismatched[:1]]
    if wrong:
        raise CheckpointError('; '.join(wrong) + _conversion_hint(state))
    if not fit.matched:
        raise CheckpointError('none of its tensors is in the model' + _conversion_hint(state))
    return fit


def _conversion_hint(state: Mapping[str, Tensor]) -> str:
    """If these weights must be converted first, a sentence on how; else an empty string."""
    if qrnet.is_qrnet(state):
        return '. It is a published QRNet file: convert it with tools/model_converters/qrnet_to_mmuniqrnet.py'
    names = [name.removeprefix('backbone.') for name in state]
    if swin.detect_layout(names) is not None and not any(name.startswith('text_encoder.') for name in state):
        return ". It is only a Swin: load it by the backbone's init_cfg=dict(type='Pretrained', checkpoint=...)"
    return ''


def log_fit(what: str, fit: FitReport, resized: Sequence[str] = ()) -> None:
    """Log a comparison: as a warning, unless file and model have the same tensors."""
    text = f'{what}: {fit.describe()}'
    if resized:
        text += f'\ninterpolated for another window size: {len(resized)} bias tables'
    incomplete = fit.new or fit.missing or fit.unexpected
    print_log(text, logger='current', level=logging.WARNING if incomplete else logging.INFO)


@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class CheckedPretrainedInit(PretrainedInit):
    """mmengine's ``Pretrained``, which refuses a file that does not fit. It is used in default scope ``mmuniqrnet``.

    Args:
        checkpoint: A file (``.pth``, ``.safetensors``) or an address.
        prefix: Load only the tensors that have this prefix in the file.
        map_location: For compatibility with mmengine; weights are always read to the CPU.

    Raises:
        CheckpointError: If the file cannot be read or does not fit the module.
    """

    def __init__(self, checkpoint: str, prefix: str | None = None, map_location: str = 'cpu') -> None:
        super().__init__(checkpoint, prefix, map_location)

    def __call__(self, module: nn.Module) -> None:
        name = type(module).__name__
        state = state_dict_of(read_checkpoint(self.checkpoint), self.checkpoint)
        if self.prefix is not None:
            prefix = self.prefix.rstrip('.') + '.'
            state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        try:
            if hasattr(module, 'backbone'):
                fit = check_fit(state, module.state_dict())
            else:
                fit = compare_state_dicts(state, module.state_dict(), new=('gates.',))
                require_fit(fit, what='it', shapes=True)
        except CheckpointError as error:
            raise CheckpointError(f'init_cfg of {name}, {self.checkpoint}: {error}') from None
        module.load_state_dict({key: state[key] for key in fit.matched}, strict=False)
        log_fit(f'{name} from {self.checkpoint}', fit)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())
