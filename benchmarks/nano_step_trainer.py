"""The process of ``nano_step.py`` in which one version of the package trains; it works with older versions, too.

Arguments: the version's folder, the folder whose config gives network, losses and data, the data, a folder for
weights and logs, the number of threads, and changes of the config. It reads one JSON object a line from the standard
input, and answers with one.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.hooks import Hook
from mmengine.runner import Runner
from nano_step import CONFIG, OWN
from torch.profiler import ProfilerActivity, profile

from mmuniqrnet.registry import HOOKS

ITEMS = 6400
KINDS = {
    'attention': ('scaled_dot_product', 'flash', 'softmax'),
    'matrix products and convolutions': ('mm', 'linear', 'convolution', 'matmul'),
    'norms': ('layer_norm', 'group_norm'),
    'copies': ('copy', 'index', 'cat', 'pad', 'roll', 'fill', 'zero', 'clone', 'slice', 'stack', 'contiguous'),
    'sums and pooling': ('sum', 'mean', 'max', 'min', 'pool', 'upsample', 'norm'),
    'optimiser': ('_fused_adam', '_foreach'),
    'views': (
        'view',
        'reshape',
        'transpose',
        'permute',
        'select',
        'as_strided',
        'expand',
        'detach',
        'squeeze',
        'aten::t',
    ),
}


@HOOKS.register_module()
class InRoundsHook(Hook):
    """Lets a training wait after each round of steps until another round is asked for, and answers with its times."""

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        self.losses: list[torch.Tensor] = []
        self.parts = parts_of(runner)
        self.begin()

    def begin(self) -> None:
        """Wait for what to do next."""
        print(json.dumps({}) if not self.losses else json.dumps(self.found), flush=True)
        line = sys.stdin.readline()
        if not line:
            sys.exit()
        self.asked = json.loads(line)
        self.losses = []
        self.profiler = profile(activities=[ProfilerActivity.CPU]) if self.asked['profile'] else None
        if self.profiler is not None:
            self.profiler.start()
        self.parts.clear()
        self.start = time.process_time()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        self.losses.append(outputs['loss'].detach())
        if len(self.losses) < self.asked['steps']:
            return
        whole = time.process_time() - self.start
        seconds = dict(self.parts)
        seconds['hooks and the rest'] = whole - sum(seconds.values())
        self.found = dict(seconds=seconds | dict(whole=whole), losses=[float(loss) for loss in self.losses], kinds={})
        if self.profiler is not None:
            self.profiler.stop()
            self.found['kinds'] = kinds_of(self.profiler, self.asked['steps'])
        self.begin()


def parts_of(runner: Runner) -> dict[str, float]:
    """The processor seconds of each part of the steps, which are added up from now on."""
    seconds: dict[str, float] = {}

    def measure(owner: Any, method: str, part: str) -> None:
        original = getattr(owner, method)

        def measured(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return original(*args, **kwargs)
            finally:
                seconds[part] = seconds.get(part, 0.0) + time.process_time() - start

        setattr(owner, method, measured)

    measure(runner.train_loop.dataloader.dataset, 'prepare_data', 'data')
    measure(runner.model, 'train', 'model.train()')
    measure(runner.model.data_preprocessor, 'forward', 'preprocessing')
    measure(runner.model, 'loss', 'forward pass')
    measure(runner.optim_wrapper, 'backward', 'backward pass')
    measure(runner.optim_wrapper, 'step', 'clipping and optimiser')
    return seconds


def kinds_of(run: profile, steps: int) -> dict[str, float]:
    """Milliseconds and calls of a step by kind of operation."""
    kinds: dict[str, float] = {}
    for event in run.key_averages():
        if event.key.startswith('aten::'):
            kind = next(
                (k for k, parts in KINDS.items() if any(p in event.key for p in parts)), 'elementwise and others'
            )
            kinds[kind] = kinds.get(kind, 0.0) + event.self_cpu_time_total / 1e3 / steps
            kinds['calls of operators'] = kinds.get('calls of operators', 0.0) + event.count / steps
    return kinds


def until_flip(cfg: Config) -> tuple[list[dict], list[dict]]:
    """The transforms of training before the flip, and the others."""
    pipeline = list(cfg.train_dataloader.dataset.pipeline)
    flip = [step['type'] for step in pipeline].index('RandomFlipWithText')
    return pipeline[:flip], pipeline[flip:]


def config_of(tree: Path, oldest: Path, data: str, folder: Path, options: list[str]) -> Config:
    """Network, losses and data of the older version, and what a version trains with of its own."""
    cfg, own = Config.fromfile(str(oldest / CONFIG)), Config.fromfile(str(tree / CONFIG))
    for key in OWN:
        cfg[key] = own[key]
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].dataset.data_root = data
    # What comes before the flip is each version's own; images in memory are few, so that they are soon there.
    prepares, rest = (until_flip(one) for one in (own, cfg))
    cfg.train_dataloader.dataset.update(pipeline=prepares[0] + rest[1], indices=ITEMS)
    cfg.custom_hooks.append(dict(type='InRoundsHook'))
    cfg.work_dir = str(folder / tree.name)
    cfg.train_cfg.val_interval = cfg.train_cfg.max_iters = 10**6
    cfg.default_hooks.checkpoint.interval = 10**6
    cfg.merge_from_dict(
        {key: DictAction._parse_iterable(value) for key, _, value in (o.partition('=') for o in options)}
    )
    return cfg


def keep_images(dataset: Any) -> None:
    """Load all images once, if they are kept in memory."""
    if hasattr(dataset.pipeline.transforms[0], 'keep'):
        for index in range(len(dataset)):
            dataset.pipeline.transforms[0](dataset.get_data_info(index))


def main() -> None:
    tree, oldest, data, folder, threads, *options = sys.argv[1:]
    torch.set_num_threads(int(threads))
    cfg = config_of(Path(tree), Path(oldest), data, Path(folder), options)
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    weights = Path(folder) / 'weights.pth'
    if weights.exists():
        runner.model.load_state_dict(torch.load(weights))
    else:
        torch.save(runner.model.state_dict(), weights)
    runner.model.init_weights = lambda: None  # Runner.train would draw new ones
    keep_images(runner.train_loop.dataloader.dataset)
    torch.manual_seed(0)
    runner.train()


if __name__ == '__main__':
    main()
