"""Stage by stage, how much of the energy of gates and features lies on the object that the expression means."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from mmuniqrnet.models.gate_recording import maps_on_image, record_outputs, token_grid
from mmuniqrnet.models.layers import QueryDynamicAttention, SpatialGate
from mmuniqrnet.structures import Placement
from mmuniqrnet.structures.truth import truth_mask
from mmuniqrnet.utils.errors import UserError


class Consistency(NamedTuple):
    """How one map agrees with one expression.

    Attributes:
        inside: Share of the map's energy within the true mask, 0..1.
        area: Share of the image that the mask covers: what ``inside`` is for a map that is the same everywhere.
        pointing: Whether the map's highest place lies within the mask (the pointing game, Zhang et al. 2018).
        preferred: Whether, of the image's objects, the true one has the greatest mean energy; a map that does not know
            the text is right for one of n. None where the image has one object only.
    """

    inside: float
    area: float
    pointing: bool
    preferred: bool | None


def measure(energy: np.ndarray, masks: Sequence[np.ndarray], target: int) -> Consistency:
    """Compare a map with the masks of an image's objects.

    Args:
        energy: [H, W], not negative; a spatial gate, or the squared norm of the features, in original pixels.
        masks: bool [H, W] each, one for each object of the image; empty ones (hidden objects) are passed over.
        target: Which of them the expression means.

    Raises:
        ValueError: The energy is negative somewhere or zero everywhere, a mask has another size, or the target's is
            empty.
    """
    total = float(energy.sum(dtype=np.float64))
    if energy.min() < 0 or total <= 0:
        raise ValueError('the energy of a map must be zero or more everywhere, and more than zero somewhere')
    for mask in masks:
        if mask.shape != energy.shape:
            raise ValueError(f'a mask is {list(mask.shape)}, but the map is {list(energy.shape)} (height, width)')
    if not masks[target].any():
        raise UserError('the mask of the object that is meant is empty')
    means = [float(energy[mask].mean(dtype=np.float64)) if mask.any() else -1.0 for mask in masks]
    return Consistency(
        inside=float(energy[masks[target]].sum(dtype=np.float64)) / total,
        area=float(masks[target].mean()),
        pointing=bool(masks[target].flat[int(energy.argmax())]),
        preferred=int(np.argmax(means)) == target if sum(mask.any() for mask in masks) > 1 else None,
    )


def summarise(measured: Mapping[str, Sequence[Consistency]]) -> list[dict[str, float | str | int]]:
    """A row for each map: its name, N and, in per cent, the means of what was measured."""
    rows: list[dict[str, float | str | int]] = []
    for name, values in measured.items():
        choices = [value.preferred for value in values if value.preferred is not None]
        rows.append(
            dict(
                map=name,
                N=len(values),
                inside=100 * float(np.mean([value.inside for value in values])),
                area=100 * float(np.mean([value.area for value in values])),
                pointing=100 * float(np.mean([value.pointing for value in values])),
                preferred=100 * float(np.mean(choices)) if choices else float('nan'),
            )
        )
    return rows


Maps = dict[str, np.ndarray]


def measure_model(
    model: nn.Module,
    dataset: Dataset,
    *,
    limit: int | None = None,
    batch_size: int = 32,
    look: Callable[[DetDataSample, Maps], None] = lambda sample, gates: None,
) -> dict[str, list[Consistency]]:
    """Every spatial gate, the gated tokens (squared norm) and the neck's levels (squared norm), against the truth.

    Expressions without exactly one object with a mask are passed over. An image's objects are those that some
    expression of the data set means.

    Args:
        model: A ``UniQRNet`` in evaluation mode.
        dataset: Gives packed items in test mode, as a config's ``test_dataloader.dataset`` does.
        limit: Only the first so many expressions.
        batch_size: Expressions at a time.
        look: Is shown each sample with its gates, float [H, W] by name in original pixels.

    Returns:
        Name of the map (``backbone 0 gate``, ``backbone 0 tokens``, ``neck level 0``) -> what was measured of it.

    Raises:
        UserError: No expression can be measured.
        ValueError: The model has no gates.
    """
    objects = _objects_of(dataset)
    if not objects:
        raise UserError(
            "no expression of the config's test data set has one object with a mask, so nothing can be measured."
        )
    measured = defaultdict(list)
    subset = Subset(dataset, range(min(limit or len(dataset), len(dataset))))
    for batch in DataLoader(subset, batch_size, collate_fn=pseudo_collate):
        gates, tokens, samples = energies(model, batch)
        for b, sample in enumerate(samples):
            if not _measurable(sample.instances):
                continue
            placement = Placement.of(sample)
            of_image = objects[sample.img_id]
            masks = [truth_mask([instance], *placement.ori_shape) for instance in of_image.values()]
            target = list(of_image).index(_key(sample.instances[0]))
            on_image = maps_on_image(gates, placement, b)
            for name, values in (on_image | maps_on_image(tokens, placement, b)).items():
                measured[name].append(measure(values, masks, target))
            look(sample, on_image)
    return dict(measured)


@torch.no_grad()
def energies(model: nn.Module, batch: dict) -> tuple[dict[str, Tensor], dict[str, Tensor], list[DetDataSample]]:
    """For a batch: the spatial gates, the energies of the features, each name -> [B, h, w] over the canvas; samples."""
    data = model.data_preprocessor(batch, False)
    canvas = tuple(data['inputs'].shape[-2:])
    with record_outputs(model, SpatialGate, QueryDynamicAttention) as recorded:
        features = model.extract_feat(data['inputs'], data['data_samples'])
    gates, tokens = gates_and_tokens(recorded, canvas)
    for i, level in enumerate(features.levels):
        tokens[f'neck level {i}'] = level.float().square().sum(1).cpu()
    return gates, tokens, data['data_samples']


def gates_and_tokens(
    recorded: Mapping[str, Tensor], canvas: tuple[int, int]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The spatial gates, and the energies of the gated tokens (squared norm): each name -> [B, h, w] over the canvas.

    ``recorded`` is what :func:`mmuniqrnet.models.gate_recording.record_outputs` gives for ``SpatialGate`` and
    ``QueryDynamicAttention``; ``canvas`` its (height, width) in pixels.
    """
    gates, tokens = {}, {}
    for name, value in recorded.items():
        grid = token_grid(value.shape[1], canvas)
        if name.endswith('.spatial'):
            gates[f'{name.rpartition(".")[0]} gate'.replace('.gates.', ' ')] = value[..., 0].unflatten(1, grid)
        else:
            tokens[f'{name} tokens'.replace('.gates.', ' ')] = value.square().sum(2).unflatten(1, grid)
    return gates, tokens


def _objects_of(dataset: Dataset) -> dict[Any, dict[str, dict]]:
    """Image id -> the objects that expressions mean there, each once."""
    found: dict[Any, dict[str, dict]] = defaultdict(dict)
    for index in range(len(dataset)):
        item = dataset.get_data_info(index)
        if _measurable(item['instances']):
            found[item['img_id']][_key(item['instances'][0])] = item['instances'][0]
    return found


def _measurable(instances: list[dict]) -> bool:
    return len(instances) == 1 and instances[0].get('mask') is not None


def _key(instance: dict) -> str:
    return json.dumps(instance['mask'], sort_keys=True, default=str)
