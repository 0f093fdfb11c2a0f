"""The rows of the ablations: what each changes in the joint model, and the settings that all of them share."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parents[2] / 'configs' / 'uniqrnet_swin-nano_refshapes.py'
ITERATIONS = 750
WARM_UP = 100
VALIDATE_EVERY = 250
WHOLE_ITERATIONS = 5000  # the config's own
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
        whole: Whether it is nano's config in everything that it does not change, its schedule included, instead of the
            network and the settings of the other rows (``SHORT`` and the constants above).
    """

    title: str
    options: dict[str, Any] = field(default_factory=dict)
    iterations: int = ITERATIONS
    start: str | None = 'start'
    crowded: bool = True
    tests: str | None = None
    whole: bool = False


NO_BOX = {
    'model.head.box_branch': None,
    'model.head.loss_box_l1': None,
    'model.head.loss_box_giou': None,
    'model.head.box_from_mask': False,
    'custom_hooks': [],
}
NO_MASK = {
    'model.head.box_branch.sees_reference': False,
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
AFTER_NORM = {'model.backbone.gate_output': 'after_norm'}
DEEP = {'model.head.deep_supervision': True}
GUIDED_GATES = {'model.head.pixel_guidance.guide_gates': True}
START_SEED = 1
TASKS = dict(box='loss_box', mask=('loss_mask', 'loss_aux'))
THREE_TASKS = dict(box='loss_box', mask='loss_mask', aux='loss_aux')
EACH_LOSS = dict(l1='loss_box_l1', giou='loss_box_giou', bce='loss_mask_bce', dice='loss_mask_dice', aux='loss_aux')


# Options of nano's config that are newer than the results of the short rows. These rows leave them out, so that their
# networks are still those that were measured: without an option, each class is as it was.
NEWER_OPTIONS = (
    'model.backbone.gate_norm',
    'model.backbone.gate_limit',
    'model.backbone.gate_output',
    'model.neck.gate_norm',
    'model.neck.gate_limit',
    'model.head.pixel_guidance.guide_gates',
    'model.head.box_branch.sees_reference',
    'model.head.deep_supervision',
    'model.head.deep_loss_weight',
)


def balance(tasks: dict = TASKS, **strategy: Any) -> dict[str, Any]:
    return {'custom_hooks': [dict(type='LossBalanceHook', strategy=strategy, tasks=tasks)]}


SHORT = {'model.head.test_cfg.mask_margin': None, **balance(type='magnitude')}

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
    'joint-reg': Row(
        'joint, box from [REG] alone',
        {'model.head.box_from_mask': False, 'model.head.box_branch.sees_reference': False},
    ),
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

# 4. Choices of the model, in whole trainings of nano. What a row does not name is stated here instead of taken from the
# config, so that the rows stay what they were when a choice becomes the config's.
CHOICES = {
    'model.backbone.gate_output': 'before_norm',
    'model.head.pixel_guidance.guide_gates': False,
    'model.head.deep_supervision': False,
}
PUBLISHED_GATES = {
    f'model.{part}.{option}': value
    for part in ('backbone', 'neck')
    for option, value in (('gate_norm', False), ('gate_limit', None))
}
BLIND = {'model.head.box_branch.sees_reference': False}
MAGNITUDE_TWO = {'custom_hooks.0.strategy': 'magnitude', 'custom_hooks.0.tasks': dict(_delete_=True, **TASKS)}
WHOLE = {
    'nano': ('normalised and limited gates, a reference that is seen, uncertainty with three tasks', {}),
    'nano-magnitude': ('magnitude', {'custom_hooks.0.strategy': 'magnitude'}),
    'nano-magnitude-two': (
        'magnitude, pixel supervision in the task of the mask',
        MAGNITUDE_TWO,
    ),
    'nano-fixed-0.2': (
        'fixed, box 0.2',
        {'custom_hooks.0.strategy': dict(_delete_=True, type='fixed', weights=dict(box=0.2, mask=1.0, aux=1.0))},
    ),
    'nano-gates-published': (
        'gates as published, neither normalised nor limited',
        PUBLISHED_GATES,
    ),
    'nano-before': (
        'all of this as it was: published gates, a box branch that does not see its reference, two balanced tasks',
        PUBLISHED_GATES | BLIND | MAGNITUDE_TWO,
    ),
    'nano-after-norm': ("gates of the backbone after the norm of their stage's output", AFTER_NORM),
    'nano-guide-gates': ('pixel supervision of the gates themselves', GUIDED_GATES),
    'nano-after-norm-guide': ('both of these', AFTER_NORM | GUIDED_GATES),
    'nano-blind-reference': (
        'box branch that does not see its reference',
        BLIND,
    ),
    'nano-deep': ('masks after every encoder layer', DEEP),
    'nano-deep-task': (
        'masks after every encoder layer, the earlier ones a task of their own',
        DEEP | {'custom_hooks.0.tasks': dict(_delete_=True, deep='d?.loss_mask', **THREE_TASKS)},
    ),
    'nano-levels': ('tokens of strides 4, 8 and 16', {'model.head.encoder.levels': (0, 1, 2)}),
    'nano-one-level': ('tokens of stride 8 only', {'model.head.encoder.levels': (1,)}),
    'nano-all': (
        'gates after the norm and guided, masks after every layer, tokens of strides 4, 8 and 16',
        AFTER_NORM | GUIDED_GATES | {'model.head.deep_supervision': True, 'model.head.encoder.levels': (0, 1, 2)},
    ),
    'nano-ema': (
        'the exponential moving average of the weights is validated',
        {'default_hooks.ema': dict(type='EMAHook', momentum=0.01, update_buffers=True)},
    ),
    'nano-plain-neck': ('neck without gates', PLAIN_NECK),
    'nano-no-gates': ('text-agnostic backbone and neck', NO_TEXT),
}
for name, (title, options) in WHOLE.items():
    row = Row(title, CHOICES | options, iterations=WHOLE_ITERATIONS, start=None, crowded=False, whole=True)
    started = replace(row, crowded=True, start='start', iterations=ITERATIONS)
    ROWS |= {name: row, f'crowded-{name}': replace(row, crowded=True), f'started-{name}': started}

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
    'modelling': tuple(WHOLE),
    'modelling-crowded': tuple(f'crowded-{name}' for name in WHOLE),
    'modelling-started': tuple(f'started-{name}' for name in WHOLE),
}
