"""Pictures of answers to expressions, and of the gates by which the text steers the network."""

from mmuniqrnet.utils.deprecation import moved_names

from .answer_picture import draw_answer, paint_answers
from .gate_picture import draw_gates, heat_on_image
from .visualizer import ReferringVisualizer

__all__ = ['ReferringVisualizer', 'draw_answer', 'draw_gates', 'heat_on_image', 'paint_answers']

__getattr__ = moved_names(
    __name__,
    {
        'Answer': 'mmuniqrnet.structures:Answer',
        'gate_maps': 'mmuniqrnet.models.gate_recording:gate_maps',
        'maps_on_image': 'mmuniqrnet.models.gate_recording:maps_on_image',
        'record_gates': 'mmuniqrnet.models.gate_recording:record_gates',
    },
)
