import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = {
    'MODELS': ('UniQRNet', 'QRNetSwin', 'QueryAwareFusion', 'TextEncoder', 'UniQRNetHead'),
    'DATASETS': ('ReferDataset', 'RefShapesDataset'),
    'METRICS': ('ReferringMetric',),
    'HOOKS': ('LossBalanceHook',),
    'OPTIM_WRAPPER_CONSTRUCTORS': ('LoadedLrOptimWrapperConstructor',),
    'DATA_SAMPLERS': ('SameImageSampler',),
}

# Each toolbox is asked in a process forked before any of the three was imported, so that none profits from another's
# imports; torch and transformers register nothing, and are imported once to save time.
CODE = """
import importlib, os, sys
import torch, transformers.models.bert.modeling_bert
for toolbox in ('mmengine', 'mmdet', 'mmseg'):
    assert not [name for name in sys.modules if name.startswith(('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmuniqrnet'))]
    child = os.fork()
    if child:
        if os.waitpid(child, 0)[1]:
            sys.exit(toolbox + ' failed')
        continue
    registries = importlib.import_module(toolbox + '.registry')
    for pair in sys.argv[1:]:
        registry, name = pair.split('.')
        found = getattr(registries, registry).get('mmuniqrnet.' + name)
        print('found', toolbox, pair, found and found.__module__.split('.')[0] + '.' + found.__name__)
    sys.stdout.flush()
    os._exit(0)
"""


def test_names_resolve_from_each_toolbox_without_import(tmp_path):
    pairs = [f'{registry}.{name}' for registry, names in NAMES.items() for name in names]
    done = subprocess.run(
        [sys.executable, '-c', CODE, *pairs],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={'PYTHONPATH': str(ROOT), 'PATH': '/usr/bin:/bin', 'HOME': str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith('found ')]
    assert lines == [
        f'found {toolbox} {pair} mmuniqrnet.{pair.split(".")[1]}'
        for toolbox in ('mmengine', 'mmdet', 'mmseg')
        for pair in pairs
    ]
