"""Pictures of answers to expressions, and of the gates by which the text steers the network."""

import warnings
from importlib import import_module
from typing import Any

from .answer_picture import draw_answer, paint_answers
from .gate_picture import draw_gates, heat_on_image
from .visualizer import ReferringVisualizer

__all__ = ['ReferringVisualizer', 'draw_answer', 'draw_gates', 'heat_on_image', 'paint_answers']

MOVED = {
    'Answer': 'mmuniqrnet.structures',
    'gate_maps': 'mmuniqrnet.models.gate_recording',
    'maps_on_image': 'mmuniqrnet.models.gate_recording',
    'record_gates': 'mmuniqrnet.models.gate_recording',
}


def __getattr__(name: str) -> Any:
    if name not in MOVED:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    warnings.warn(
        f'{__name__}.{name} has moved to {MOVED[name]}; the old place works in this release only.',
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(import_module(MOVED[name]), name)
