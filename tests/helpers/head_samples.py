"""Heads at work: answers and truths made up for its losses, and whole items with and without a box or a mask."""

import numpy as np
import torch

from mmuniqrnet.models.heads.targets import Targets
from mmuniqrnet.registry import MODELS

from .tiny_model import DIM, batch_of, head_config, item, neck_maps, rectangle, tiny_model

BOX, MASK = [8.0, 4.0, 24.0, 20.0], rectangle(48, 64, 8, 4, 24, 20)
BOTH = item(boxes=[BOX], masks=[MASK], seed=1)
NO_BOX = item(boxes=[[0.0, 0.0, 64.0, 48.0]], masks=[MASK], has_box=False, has_mask=True, seed=2, text='blue star')
NO_MASK = item(boxes=[BOX], masks=[np.zeros((48, 64))], has_box=True, has_mask=False, seed=3, text='the green ring')


def head(**changes):
    torch.manual_seed(0)
    return MODELS.build(head_config(**changes)).eval()


def targets(boxes=None, has_box=None, masks=None, has_mask=None, exists=None, inside=None, batch=3, size=16):
    generator = torch.Generator().manual_seed(0)
    if boxes is None:
        boxes = torch.rand(batch, 4, generator=generator) * 0.4 + 0.3
    if masks is None:
        masks = (torch.rand(batch, 1, size, size, generator=generator) > 0.6).float()
    if inside is None:
        inside = torch.ones(batch, 1, size, size)
        inside[0, :, :, 12:] = 0
        inside[1, :, :4] = 0
    ones = torch.ones(batch)
    return Targets(
        boxes,
        ones if has_box is None else torch.tensor(has_box),
        masks * inside,
        ones if has_mask is None else torch.tensor(has_mask),
        ones if exists is None else torch.tensor(exists),
        inside,
    )


def predictions(batch=3, size=16, seed=7):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(batch, 4, generator=generator) * 0.5 + 0.2
    logits = torch.randn(batch, 1, size, size, generator=generator) * 2
    return boxes.requires_grad_(), logits.requires_grad_()


def whole_losses(items, model=None, **changes):
    model = model or tiny_model(head=head_config(**changes)).train()
    data = model.data_preprocessor(batch_of(items), training=True)
    return model, model.loss(data['inputs'], data['data_samples'])


def centred(**changes):
    return tiny_model(
        data_preprocessor=dict(type='ReferDataPreprocessor', canvas_size=64, placement='center'),
        head=head_config(**changes),
    ).train()


def branch_inputs(requires_grad=False):
    """What a mask branch is given: [REG] [2, d], the encoder's maps and the neck's."""
    generator = torch.Generator().manual_seed(3)
    reg = torch.randn(2, DIM, generator=generator)
    maps = [torch.randn(2, DIM, s, s, generator=generator) for s in (4, 2)]
    levels = neck_maps()
    for x in (reg, *maps, *levels):
        x.requires_grad_(requires_grad)
    return reg, maps, levels
