"""Refuse a checkpoint that does not fit; mmengine would only log what is missing."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmuniqrnet.checkpoints.carried_config import changed_options
from mmuniqrnet.checkpoints.file_io import state_dict_of
from mmuniqrnet.checkpoints.fit import NEW_BY_DESIGN
from mmuniqrnet.checkpoints.loading import check_fit, log_fit
from mmuniqrnet.registry import HOOKS
from mmuniqrnet.utils.errors import CheckpointError, UserError


@HOOKS.register_module()
class CheckLoadHook(Hook):
    """Checks the checkpoint of ``load_from`` or ``resume`` part by part before it is loaded.

    mmengine loads each tensor that has the right name and shape, and only logs the others. With this hook, a part
    (backbone, neck, head.encoder, head.box_branch, ...) of which the checkpoint has any tensor must match. A part of
    which it has none is new and is listed in the log, for example the mask branch if the checkpoint is a converted
    QRNet. To resume a run, every part must match, and if weights were averaged, they must be averaged again.

    Args:
        share: The share of a part's tensors that must match.
        required: Parts that the checkpoint must have if the model has them.
        new: Prefixes, within a part, of what may be absent completely.
        allow: Prefixes of tensors that are not checked, such as ``'head.encoder.position.'`` for another number of
            tokens (mmengine then keeps the model's values).

    Raises:
        CheckpointError: If the checkpoint does not fit.
    """

    def __init__(
        self,
        share: float = 0.95,
        required: Sequence[str] = ('backbone', 'text_encoder'),
        new: Sequence[str] = NEW_BY_DESIGN,
        allow: Sequence[str] = (),
    ) -> None:
        if not 0 < share <= 1:
            raise UserError(f'CheckLoadHook: share is a fraction in (0, 1], not {share}.')
        self.share = share
        self.required = tuple(required)
        self.new = tuple(new)
        self.allow = tuple(allow)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        resuming = getattr(runner, '_resume', False)
        what = f'{"resume" if resuming else "load_from"}, {getattr(runner, "_load_from", None) or "checkpoint"}'
        try:
            fit = check_fit(
                state_dict_of(checkpoint),
                model.state_dict(),
                share=self.share,
                required=None if resuming else self.required,
                new=() if resuming else self.new,
                allow=self.allow,
            )
            if 'state_dict' not in checkpoint and 'model' in checkpoint:
                raise CheckpointError(
                    "its weights are under 'model', which mmengine does not read: save them under 'state_dict'"
                )
        except CheckpointError as error:
            raise CheckpointError(
                f'{what}: the checkpoint does not fit the model: {error}. '
                'To accept other differences, set the options required, new and allow of CheckLoadHook.'
            ) from None
        lacking = [key for key in ('meta', 'message_hub', 'optimizer') if key not in checkpoint]
        if resuming and lacking:
            raise CheckpointError(
                f'{getattr(runner, "_load_from", None) or "the checkpoint"} has no {", ".join(lacking)}, so a training '
                'can not be resumed from it: give a .pth that the training wrote, or start a new one with load_from.'
            )
        if resuming and 'ema_state_dict' in checkpoint and not any(isinstance(hook, EMAHook) for hook in runner.hooks):
            # Its state_dict has the averages; EMAHook exchanges the two.
            raise CheckpointError(
                f'{getattr(runner, "_load_from", None) or "the checkpoint"} is of a training with averaged weights, '
                'which can not be resumed without EMAHook: it would go on from the averages, with the state of the '
                'optimizer of other weights. Remove default_hooks.ema=None, or start a new training with load_from.'
            )
        log_fit(what, fit)
        if not resuming:
            warn_of_hidden_options(checkpoint, runner.cfg.get('model') or {}, what)


def warn_of_hidden_options(checkpoint: dict, model: Mapping[str, Any], what: str) -> None:
    """Log where the config in a checkpoint and that of the model differ in options that no tensor shows."""
    different = changed_options(checkpoint, model, what)
    if different:
        print_log(
            f'{what}: the checkpoint was trained with {", ".join(different)}. The tensors are the same, but mean '
            'something else; set these options of the model as they were, or train on.',
            logger='current',
            level=logging.WARNING,
        )
