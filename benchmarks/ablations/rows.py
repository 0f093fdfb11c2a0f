"""The rows of the ablations: what each changes in the joint model, and the setting that all of them share."""
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parents[2] / 'configs' / 'uniqrnet_swin-nano_refshapes.py'
ITERATIONS = 1000
WARM_UP = 100
VALIDATIONS = 4
NUM_IMAGES = dict(train=4000, val=250)
LEARNING_RATE = 1e-3
SWEEP = (0.05, 0.2, 1, 5, 20)


@dataclass(frozen=True)
class Row:
    """One configuration, trained once for each seed.

    Attributes:
        title: What the tables call it.
        options: What it changes in the config, by dotted key.
        budget: Iterations in units of ``ITERATIONS``.
        start: The row from whose weights, of the same seed, it starts; None is from scratch.
    """
    title: str
    options: dict[str, Any] = field(default_factory=dict)
    budget: int = 1
    start: str | None = None


NO_BOX = {
    'model.head.box_branch': None,
    'model.head.loss_box_l1': None,
    'model.head.loss_box_giou': None,
    'model.head.box_from_mask': False,
    'custom_hooks': [],
}
NO_MASK = {
    'model.head.mask_branch': None,
    'model.head.loss_mask_bce': None,
    'model.head.loss_mask_dice': None,
    'model.head.box_from_mask': False,
    'custom_hooks': [],
}
NO_GUIDANCE = {'model.head.pixel_guidance': None, 'model.head.loss_aux': None}
PLAIN_NECK = {'model.neck.gated': False}
TASKS = dict(box='loss_box', mask=('loss_mask', 'loss_aux'))


def balance(**strategy: Any) -> dict[str, Any]:
    return {'custom_hooks': [dict(type='LossBalanceHook', strategy=strategy, tasks=TASKS)]}


ROWS = {
    'joint': Row('joint (both gates, neck fusion, pixel supervision, magnitude)'),
    # 1. Where the text comes in.
    'gates-none': Row('text-agnostic backbone and neck', {'model.backbone.gated_stages': (), **PLAIN_NECK}),
    'gates-channel': Row('channel gate', {'model.backbone.spatial_gate': False, **PLAIN_NECK}),
    'gates-spatial': Row('spatial gate', {'model.backbone.channel_gate': False, **PLAIN_NECK}),
    'gates-both': Row('both gates', PLAIN_NECK),
    # 2. Which tasks are taught.
    'masks': Row('masks only', NO_BOX),
    'masks-plain': Row('masks only, no pixel supervision of stages', NO_BOX | NO_GUIDANCE),
    'joint-plain': Row('joint, no pixel supervision of stages', NO_GUIDANCE),
    'joint-reg': Row('joint, box from [REG] alone', {'model.head.box_from_mask': False}),
    # 3. How the losses are balanced; the weight is the box's, the mask's is 1.
    **{f'fixed-{w:g}': Row(f'fixed, box {w:g}', balance(type='fixed', weights=dict(box=w, mask=1.))) for w in SWEEP},
    'dwa': Row('dwa', balance(type='dwa')),
    'uncertainty': Row('uncertainty', balance(type='uncertainty')),
    'gradnorm': Row('gradnorm', balance(type='gradnorm')),
    'random': Row('random', balance(type='random')),
    # From a network that knows the objects already, as published ones start from a detector's backbone.
    'warm-boxes-plain': Row('boxes only (QRNet)', NO_MASK | NO_GUIDANCE, start='masks'),
    'warm-boxes': Row('boxes only, with pixel supervision of stages', NO_MASK, start='masks'),
    'warm-masks': Row('masks only', NO_BOX, start='masks'),
    'warm-joint': Row('joint', start='masks'),
    'warm-joint-reg': Row('joint, box from [REG] alone', {'model.head.box_from_mask': False}, start='masks'),
    # Boxes alone learn slowly.
    'boxes': Row('boxes only, with pixel supervision of stages', NO_MASK),
    'boxes-plain': Row('boxes only (QRNet)', NO_MASK | NO_GUIDANCE),
    'boxes-plain-long': Row('boxes only (QRNet), three times the budget', NO_MASK | NO_GUIDANCE, budget=3),
}
GROUPS = {
    'gates': ('gates-none', 'gates-channel', 'gates-spatial', 'gates-both', 'joint'),
    'tasks': ('boxes-plain', 'boxes-plain-long', 'boxes', 'masks-plain', 'masks', 'joint-plain', 'joint', 'joint-reg'),
    'warm': ('warm-boxes-plain', 'warm-boxes', 'warm-masks', 'warm-joint', 'warm-joint-reg'),
    'balance': (*(f'fixed-{w:g}' for w in SWEEP), 'joint', 'dwa', 'uncertainty', 'gradnorm', 'random'),
}
