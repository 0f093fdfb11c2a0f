"""Draw the gates of QD-ATT, and other maps over an image, as heat."""

from collections.abc import Mapping

import cv2
import matplotlib
import numpy as np

from .answer_picture import MIN_SIDE
from .sheet import enlarge, lay_out

COLUMNS = 4


def draw_gates(
    image: np.ndarray, expression: str, maps: Mapping[str, np.ndarray], min_side: int = MIN_SIDE, columns: int = COLUMNS
) -> np.ndarray:
    """Draw the image and, beside it, each map as heat, from the map's smallest value (blue) to its largest (yellow).

    Args:
        image: RGB uint8 [H, W, 3].
        expression: Text at the top.
        maps: Name -> float [H, W], see :func:`mmuniqrnet.models.gate_recording.maps_on_image`.
        min_side: As in ``draw_answer``.
        columns: Panels in a row.

    Returns:
        RGB uint8: panels in rows, the image first; each caption has the name of the map and its range of values.

    Raises:
        ValueError: A map does not have the size of the image.
    """
    canvas, _ = enlarge(image, min_side)
    panels = [('image', canvas)]
    for name, values in maps.items():
        if values.shape != image.shape[:2]:
            raise ValueError(
                f'the map {name} is {list(values.shape)}, but the image is {list(image.shape[:2])} '
                '(height, width); convert it with maps_on_image'
            )
        caption = f'{name.replace(".gates.", " ")}: {values.min():.2g} to {values.max():.2g}'
        panels.append((caption, heat_on_image(canvas, values)))
    return lay_out(expression, panels, columns=columns, min_width=min_side)


def heat_on_image(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Draw a map as heat over the grey image, from its smallest value (blue) to its largest (yellow).

    Args:
        image: RGB uint8 [H, W, 3].
        values: Float [h, w], over the whole image.

    Returns:
        RGB uint8 [H, W, 3].
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    low, high = float(values.min()), float(values.max())
    relative = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
    heat = matplotlib.colormaps['viridis'](relative, bytes=True)[..., :3]
    heat = cv2.resize(heat, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return cv2.addWeighted(grey, 0.35, heat, 0.65, 0)
