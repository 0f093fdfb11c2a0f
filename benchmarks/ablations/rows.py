"""The rows of the ablations: what each changes in the joint model, and the settings that all of them share."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parents[2] / 'configs' / 'uniqrnet_swin-nano_refshapes.py'
ITERATIONS = 750
WARM_UP = 100
VALIDATE_EVERY = 250
NUM_IMAGES = dict(train=4000, val=250)
LEARNING_RATE = 1e-3
SWEEP = (0.05, 0.2, 1, 5, 20)

# Published models start from BERT and the Swin of a detector. Rows here start from a network without gates, trained for
# a short time on the easier data of the demo, or from the shipped network, which was fully trained on that data.
STARTS = dict(
    start=Path(__file__).parent / 'start.pth',
    shipped=Path(__file__).parents[2] / 'mmuniqrnet' / 'weights' / 'uniqrnet_swin-nano_refshapes.safetensors',
)
START_PARTS = ('text_encoder.', 'backbone.')


@dataclass(frozen=True)
class Row:
    """One configuration, trained once for each seed.

    Attributes:
        title: Its description in the tables.
        options: What it changes in the config, from dotted key to value.
        iterations: Length of the training.
        start: Weights from which its text encoder and its Swin start, a key of ``STARTS``, or None. Parts that these
            weights lack, such as the gates, are initialized anew.
        crowded: Whether it is trained on crowded RefShapes.
        tests: The row whose weights it tests, without further training.
    """

    title: str
    options: dict[str, Any] = field(default_factory=dict)
    iterations: int = ITERATIONS
    start: str | None = 'start'
    crowded: bool = True
    tests: str | None = None


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
NO_TEXT = {'model.backbone.gated_stages': (), **PLAIN_NECK}
CUT = {'model.head.test_cfg.mask_margin': 0.1}
POINTING = {'model.head.box_branch.type': 'PointingBoxBranch'}
START_SEED = 1
TASKS = dict(box='loss_box', mask=('loss_mask', 'loss_aux'))
THREE_TASKS = dict(box='loss_box', mask='loss_mask', aux='loss_aux')
EACH_LOSS = dict(l1='loss_box_l1', giou='loss_box_giou', bce='loss_mask_bce', dice='loss_mask_dice', aux='loss_aux')


def balance(tasks: dict = TASKS, **strategy: Any) -> dict[str, Any]:
    return {'custom_hooks': [dict(type='LossBalanceHook', strategy=strategy, tasks=tasks)]}


ROWS = {
    'start': Row('what the others start from', NO_TEXT | NO_GUIDANCE, iterations=1500, start=None, crowded=False),
    'joint': Row('joint (both gates, neck fusion, pixel supervision, magnitude)'),
    # 1. Where the text comes in.
    'gates-none': Row('text-agnostic backbone and neck', NO_TEXT),
    'gates-channel': Row('channel gate', {'model.backbone.spatial_gate': False, **PLAIN_NECK}),
    'gates-spatial': Row('spatial gate', {'model.backbone.channel_gate': False, **PLAIN_NECK}),
    'gates-both': Row('both gates', PLAIN_NECK),
    # 2. Which tasks are taught.
    'boxes-plain': Row('boxes only (QRNet): from [REG] alone', NO_MASK | NO_GUIDANCE),
    'boxes-plain-pointing': Row('boxes only, from where [REG] points', NO_MASK | NO_GUIDANCE | POINTING),
    'boxes-pointing': Row('boxes only, from where [REG] points, with pixel supervision of stages', NO_MASK | POINTING),
    'masks-plain': Row('masks only, no pixel supervision of stages', NO_BOX | NO_GUIDANCE),
    'masks': Row('masks only', NO_BOX),
    'joint-plain': Row('joint, no pixel supervision of stages', NO_GUIDANCE),
    'joint-reg': Row('joint, box from [REG] alone', {'model.head.box_from_mask': False}),
    'joint-pointing': Row('joint, box from where [REG] points', POINTING),
    'joint-cut': Row('`joint`, its masks cut to their boxes', CUT, tests='joint'),
    # 3. How the losses are balanced; the weight is the box's, the mask's is 1.
    **{f'fixed-{w:g}': Row(f'fixed, box {w:g}', balance(type='fixed', weights=dict(box=w, mask=1.0))) for w in SWEEP},
    'fixed-0.2-cut': Row('`fixed-0.2`, its masks cut to their boxes', CUT, tests='fixed-0.2'),
    'dwa': Row('dwa', balance(type='dwa')),
    'uncertainty': Row('uncertainty', balance(type='uncertainty')),
    'uncertainty-aux': Row(
        'uncertainty, pixel supervision a task of its own', balance(THREE_TASKS, type='uncertainty')
    ),
    'uncertainty-each': Row('uncertainty, each loss a task of its own', balance(EACH_LOSS, type='uncertainty')),
    'gradnorm': Row('gradnorm', balance(type='gradnorm')),
    'random': Row('random', balance(type='random')),
}
SCRATCH = ('gates-none', 'gates-both', 'joint-plain', 'joint', 'uncertainty', 'masks')
SHIPPED = ('boxes-plain', 'boxes-plain-pointing', 'boxes-pointing', 'masks', 'joint-plain', 'joint', 'joint-pointing')
ROWS |= {f'scratch-{name}': replace(ROWS[name], iterations=1000, start=None) for name in SCRATCH}
ROWS |= {f'shipped-{name}': replace(ROWS[name], start='shipped') for name in SHIPPED}
ROWS['shipped-joint-cut'] = replace(
    ROWS['joint-cut'], title='`shipped-joint`, its masks cut to their boxes', tests='shipped-joint'
)

GROUPS = {
    'gates': ('gates-none', 'gates-channel', 'gates-spatial', 'gates-both', 'joint'),
    'tasks': (
        'boxes-plain',
        'boxes-plain-pointing',
        'boxes-pointing',
        'masks-plain',
        'masks',
        'joint-plain',
        'joint',
        'joint-cut',
        'joint-reg',
        'joint-pointing',
        'fixed-0.2',
        'fixed-0.2-cut',
    ),
    'balance': (
        *(f'fixed-{w:g}' for w in SWEEP),
        'joint',
        'dwa',
        'uncertainty',
        'uncertainty-aux',
        'uncertainty-each',
        'gradnorm',
        'random',
    ),
    'scratch': tuple(f'scratch-{name}' for name in SCRATCH),
    'shipped': (*(f'shipped-{name}' for name in SHIPPED), 'shipped-joint-cut'),
}
