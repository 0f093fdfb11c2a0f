"""Early stopping whose count continues when a training is resumed."""

from mmengine.hooks import EarlyStoppingHook as _EarlyStoppingHook
from mmengine.runner import Runner

from mmuniqrnet.registry import HOOKS


@HOOKS.register_module()
class EarlyStoppingHook(_EarlyStoppingHook):
    """mmengine's EarlyStoppingHook, with the same arguments; checkpoints have its best score and its count.

    mmengine's forgets both when a training is resumed. It comes before CheckpointHook, which saves the checkpoint of a
    step again when a validation was the best.
    """

    priority = 'LOW'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint.setdefault('early_stopping', {})[self.monitor] = (self.best_score, self.wait_count)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume and self.monitor in checkpoint.get('early_stopping', {}):
            self.best_score, self.wait_count = checkpoint['early_stopping'][self.monitor]
