import copy

import torch
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from mmuniqrnet.checkpoints.recording import LoadRecorder


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
        self.scale = nn.Parameter(torch.ones(1))


def recorded(model: nn.Module, recorder: LoadRecorder) -> set[str]:
    return {name for name, parameter in model.named_parameters() if recorder.has_loaded(parameter)}


def test_a_part_and_the_whole_by_torch_and_by_mmengine():
    model = Whole()
    recorder = LoadRecorder(model)
    assert recorded(model, recorder) == set()
    model.second[1].load_state_dict(dict(weight=torch.ones(5, 4)), strict=False)
    assert recorded(model, recorder) == {'second.1.weight'}
    load_state_dict(model, {'scale': torch.zeros(1), 'first.bias': torch.zeros(3)})
    assert recorded(model, recorder) == {'second.1.weight', 'scale', 'first.bias'}
    assert not model.scale.any() and not model.first.bias.any()


def test_a_tensor_of_another_shape_is_not_loaded():
    model = Whole()
    recorder = LoadRecorder(model)
    load_state_dict(model, {'first.weight': torch.ones(7, 7), 'first.bias': torch.ones(3)})
    assert recorded(model, recorder) == {'first.bias'}


def test_what_was_loaded_when_a_part_was_built_counts():
    model = Whole()
    model.second.loaded_at_build = frozenset({'0.weight'})
    assert recorded(model, LoadRecorder(model)) == {'second.0.weight'}


def test_after_the_end_nothing_is_recorded_and_no_listener_is_left():
    model = Whole()
    recorder = LoadRecorder(model)
    copied = copy.deepcopy(model)
    recorder.stop()
    model.load_state_dict(copied.state_dict())
    assert recorded(model, recorder) == set()
    assert not any(part._load_state_dict_pre_hooks for part in model.modules())
