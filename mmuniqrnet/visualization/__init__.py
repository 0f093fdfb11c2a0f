"""Pictures: answers to expressions, and the gates by which the text steers the network."""

from mmuniqrnet.structures.answers import Answer

from .drawing import draw_answer, paint_answers
from .gates import draw_gates, gate_maps, heat_on_image, maps_on_image, record_gates
from .visualizer import ReferringVisualizer

__all__ = [
    'Answer',
    'ReferringVisualizer',
    'draw_answer',
    'draw_gates',
    'gate_maps',
    'heat_on_image',
    'maps_on_image',
    'paint_answers',
    'record_gates',
]
