import cv2
import numpy as np
import pytest

from mmuniqrnet.visualization import draw_gates


def test_heat_is_brightest_where_the_gate_is_open():
    values = np.full((80, 100), 0.2)
    values[40:60, 10:30] = 0.7
    image = np.full((80, 100, 3), 128, np.uint8)
    picture = draw_gates(image, 'x', {'backbone.gates.0': values, 'backbone.gates.1': np.full((80, 100), 0.5)})
    heat = cv2.cvtColor(picture[-320:, 408:808], cv2.COLOR_RGB2GRAY).astype(float)  # 400 wide, 8 between
    assert heat[160:240, 40:120].min() > heat[:150].max()
    assert picture.shape[1] == 3 * 400 + 2 * 8
    assert (picture[-320:, :400] == 128).all()
    with pytest.raises(ValueError, match=r'map a is \[4, 4\], but the image is \[80, 100\]'):
        draw_gates(image, 'x', {'a': np.zeros((4, 4))})


def test_names_that_have_moved_still_work_with_a_warning():
    import mmuniqrnet.visualization as old
    from mmuniqrnet.models.gate_recording import record_gates

    with pytest.warns(DeprecationWarning, match=r'use mmuniqrnet\.models\.gate_recording\.record_gates instead'):
        assert old.record_gates is record_gates
    with pytest.raises(AttributeError, match="has no attribute 'gates'"):
        old.gates  # noqa: B018
