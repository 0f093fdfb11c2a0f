"""What the text asks for: the gates of QD-ATT, recorded from a forward pass and drawn on the image."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import cv2
import matplotlib
import numpy as np
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mmuniqrnet.models.layers.query_dynamic_attention import ChannelGate, SpatialGate
from mmuniqrnet.structures import Placement

from .drawing import MIN_SIDE
from .sheet import enlarge, lay_out

COLUMNS = 4


@contextmanager
def record_gates(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Record the gates of every forward pass within the block; nothing stays on the model after it.

    ::

        with record_gates(model) as recorded:
            model.test_step(batch)
        maps = gate_maps(recorded, model.data_preprocessor.canvas_size)

    Yields:
        Name of the gate's module -> what it last said, on the CPU, detached: channel gates [B, 1, C] (such as
        ``backbone.gates.0.channel``), spatial gates [B, N, 1] (``backbone.gates.0.spatial``), in 0..1.

    Raises:
        ValueError: The model has no such module.
    """
    with record_outputs(model, ChannelGate, SpatialGate) as recorded:
        yield recorded


@contextmanager
def record_outputs(model: nn.Module, *kinds: type[nn.Module]) -> Iterator[dict[str, Tensor]]:
    """The same for the outputs of any kinds of modules, such as ``QueryDynamicAttention``: the gated tokens [B, N, C].

    Raises:
        ValueError: The model has no module of these kinds.
    """
    model = model.module if is_model_wrapper(model) else model
    parts = {name: part for name, part in model.named_modules() if isinstance(part, kinds)}
    if not parts:
        raise ValueError(
            f'{type(model).__name__} has no channel or spatial gates '
            f'({", ".join(kind.__name__ for kind in kinds)}); its backbone and neck are text-agnostic or '
            'their gates are switched off'
        )
    recorded: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            recorded[name] = output.detach().float().cpu()

        return hook

    handles = [part.register_forward_hook(keep(name)) for name, part in parts.items()]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def gate_maps(recorded: Mapping[str, Tensor], canvas_shape: tuple[int, int]) -> dict[str, Tensor]:
    """The spatial gates as maps over the network's canvas of (height, width) pixels.

    Args:
        recorded: What ``record_gates`` yields; channel gates are passed over.
        canvas_shape: Height and width of the images that the network was given.

    Returns:
        Name of the QD-ATT (``backbone.gates.0``) -> [B, h, w], where h and w are the canvas at that stage's stride,
        rounded up.

    Raises:
        ValueError: A gate's number of tokens fits the canvas at no stride.
    """
    maps = {}
    for name, gate in recorded.items():
        if name.split('.')[-1] != 'spatial':
            continue
        try:
            maps[name.rpartition('.')[0]] = gate[..., 0].unflatten(1, token_grid(gate.shape[1], canvas_shape))
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from None
    return maps


def maps_on_image(maps: Mapping[str, Tensor], placement: Placement, index: int = 0) -> dict[str, np.ndarray]:
    """The maps of item ``index`` of the batch, each as float [H, W] in pixels of its original image."""
    return {name: placement.map_to_original(values[index][None])[0].numpy() for name, values in maps.items()}


def draw_gates(
    image: np.ndarray, expression: str, maps: Mapping[str, np.ndarray], min_side: int = MIN_SIDE, columns: int = COLUMNS
) -> np.ndarray:
    """The image and, beside it, each map as heat: blue to yellow is that map's own least to greatest value.

    Args:
        image: RGB uint8 [H, W, 3].
        expression: What was asked.
        maps: Name -> float [H, W], see ``maps_on_image``.
        min_side: See ``draw_answer``.
        columns: Panels a row.

    Returns:
        RGB uint8, the panels in rows, the image first; the captions name the map and the values of its two ends.

    Raises:
        ValueError: A map has not the image's size.
    """
    canvas, _ = enlarge(image, min_side)
    panels = [('image', canvas)]
    for name, values in maps.items():
        if values.shape != image.shape[:2]:
            raise ValueError(
                f'the map {name} is {list(values.shape)}, but the image is {list(image.shape[:2])} '
                '(height, width); maps_on_image brings it there'
            )
        heat = heat_on_image(canvas, values)
        low, high = float(values.min()), float(values.max())
        panels.append((f'{name.replace(".gates.", " ")}: {low:.2g} to {high:.2g}', heat))
    return lay_out(expression, panels, columns=columns, min_width=min_side)


def heat_on_image(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A map as heat over the grey image: blue to yellow is the map's own least to greatest value.

    Args:
        image: RGB uint8 [H, W, 3].
        values: Float [h, w] over the whole image.

    Returns:
        RGB uint8 [H, W, 3].
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    low, high = float(values.min()), float(values.max())
    share = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
    heat = (matplotlib.colormaps['viridis'](share)[..., :3] * 255).round().astype(np.uint8)
    heat = cv2.resize(heat, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return (0.35 * grey + 0.65 * heat).round().astype(np.uint8)


def token_grid(places: int, canvas_shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a map of so many places over a canvas of (height, width) pixels: the canvas at some stride.

    Raises:
        ValueError: It is the canvas at no stride.
    """
    # h and w both fall as the stride grows, so the first stride that gives this many places gives the only such grid
    height, width = canvas_shape
    for stride in range(1, max(height, width) + 1):
        h, w = -(-height // stride), -(-width // stride)
        if h * w == places:
            return h, w
    raise ValueError(
        f'{places} places are no grid of a canvas of {height} x {width} (height x width) pixels at any stride'
    )
