"""Refuse a checkpoint that does not fit, where mmengine would go on without a word."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmuniqrnet.checkpoints.file_io import state_dict_of
from mmuniqrnet.checkpoints.fit import NEW_BY_DESIGN
from mmuniqrnet.checkpoints.loading import check_fit, report
from mmuniqrnet.registry import HOOKS
from mmuniqrnet.utils.errors import CheckpointError


@HOOKS.register_module()
class CheckLoadHook(Hook):
    """Judge what ``load_from`` brings, part by part, before it is loaded.

    mmengine loads what has the right name and shape and logs the rest. Here a part (backbone, neck, head.encoder,
    head.box_branch, ...) of which the checkpoint has anything must match; a part of which it has nothing is new and is
    listed in the log, as a mask branch over a converted QRNet is. A run that resumes must find every part.

    Args:
        share: The share of a part's tensors that must match.
        required: Parts that the checkpoint must have if the model has them.
        new: Prefixes of what may be absent as a whole within a part.
        allow: Prefixes of what is not judged, such as ``'head.encoder.position.'`` for another number of tokens
            (mmengine then leaves it as it is).

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
            raise ValueError(f'CheckLoadHook: share is a fraction in (0, 1], not {share}.')
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
                    "its weights are under 'model', where mmengine does not look: save them under 'state_dict'"
                )
        except CheckpointError as error:
            raise CheckpointError(
                f'{what}: the checkpoint does not fit the model: {error}. '
                'CheckLoadHook can be told to allow or to require other parts.'
            ) from None
        report(what, fit)
