"""In a training step of the flagship's recipe, the host never waits for the device.

There is no GPU here, so what would wait is counted on the CPU: operators that give the host a number or depend on the
values of a tensor, and ``tolist``, ``numpy`` and ``cpu`` of tensors, which are no operators there. Not seen are copies
to the device from memory that is not pinned, which wait on CUDA as well.
"""

import traceback
from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers.config_samples import make_data, reduce
from helpers.paths import ROOT
from mmengine.runner import Runner
from torch.utils._python_dispatch import TorchDispatchMode

import mmuniqrnet
from mmuniqrnet.config import load_config

WAITING = ('_local_scalar_dense', 'nonzero', 'equal', 'masked_select', 'unique_dim', '_unique2', 'is_nonzero')
METHODS = ('tolist', 'numpy', 'cpu', '__array__')
# By file and function, with the reason why nothing waits there.
ALLOWED = {
    ('data_preprocessor.py', '<genexpr>'): 'the place on the canvas is drawn on the host',
    ('shared_images.py', '<genexpr>'): 'images are compared on the host, before they are copied to the device',
    ('later.py', 'tolist'): 'numbers of the step before, which have arrived',
    ('strategies.py', 'initial_weights'): 'the state of a strategy is on the host',
    ('strategies.py', 'step'): 'the same',
    ('swin_block.py', '_add_chosen'): 'called on a CPU only',
    # It is asked when the device has the last step's work only. transformers has no way to be told.
    ('text_encoder.py', 'encode'): 'transformers asks whether there is any padding',
}


class Waits(TorchDispatchMode):
    """Counts what makes the host wait, by the file and function of this package that called it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter = Counter()

    def note(self, what: str) -> None:
        package = Path(mmuniqrnet.__file__).parent
        frames = [
            f for f in traceback.extract_stack()[:-2] if 'tests' not in f.filename and '/torch/' not in f.filename
        ]
        ours = [f for f in frames if str(package) in f.filename]
        last, inner = ours[-1] if ours else frames[-1], frames[-1]
        self.found[Path(last.filename).name, last.name, what, f'{Path(inner.filename).name}:{inner.lineno}'] += 1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name in ('index', 'index_put_') and any(
            torch.is_tensor(one) and one.dtype in (torch.bool, torch.uint8) for one in args[1]
        )
        if name in WAITING or by_mask:
            self.note(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def counted(monkeypatch) -> Waits:
    waits = Waits()
    for name in METHODS:
        original = getattr(torch.Tensor, name)

        def method(tensor, *args, _original=original, _name=name, **kwargs):
            waits.note(_name)
            return _original(tensor, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, method)
    return waits


def test_a_step_of_the_flagship_waits_for_nothing(counted, tmp_path):
    cfg = reduce(load_config(str(ROOT / 'configs/uniqrnet_swin-b_refcoco.py')), make_data(tmp_path / 'data'))
    cfg.work_dir, cfg.experiment_name = str(tmp_path / 'run'), 'no_waiting'
    cfg.train_dataloader.batch_size = 4
    cfg.train_cfg.update(max_epochs=1, val_interval=10)
    cfg.visualizer.update(vis_backends=[], name='no_waiting')
    cfg.default_hooks.checkpoint.interval = -1
    cfg.default_hooks.checkpoint.save_best = None
    runner = Runner.from_cfg(cfg)
    loop = runner.build_train_loop(runner._train_loop)
    runner._train_loop = loop
    run_iter, seen = loop.run_iter, []

    def counting(batch_idx, data_batch):
        counted.found.clear()
        with counted:
            run_iter(batch_idx, data_batch)
        seen.append(Counter(counted.found))

    loop.run_iter = counting
    runner.train()
    assert len(seen) > 2
    # The first step differs from the others, and the last one prints the log.
    waiting = {what: n for what, n in seen[1].items() if what[:2] not in ALLOWED}
    assert not waiting, '\n'.join(map(str, waiting.items()))
