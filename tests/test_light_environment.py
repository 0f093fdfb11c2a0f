"""The environment of `make demo`, built for real from where pip takes its packages: takes 3 to 5 minutes."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from mmuniqrnet.utils.env import inspect_installation

ROOT = Path(__file__).resolve().parent.parent
CONFIG = 'configs/uniqrnet_swin-nano_refshapes.py'
pytestmark = pytest.mark.slow


def command(folder: Path, *arguments: str) -> list[str]:
    stack, index = inspect_installation().stack, os.environ.get('TORCH_INDEX', '')
    tool = [sys.executable, 'tools/make_env.py', '--venv', str(folder)]
    return [*tool, '--stack', stack, '--torch-index', index, *arguments]


def run(*arguments: object) -> subprocess.CompletedProcess:
    variables = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    return subprocess.run(list(map(str, arguments)), cwd=ROOT, env=variables, capture_output=True, text=True)


@pytest.fixture(scope='module')
def light(tmp_path_factory):
    """The folder of a light environment whose first build was killed in the middle of a step."""
    folder = tmp_path_factory.mktemp('light') / 'venv'
    mark = folder / 'mmuniqrnet-env.json'
    process = subprocess.Popen(command(folder), cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    while not (mark.exists() and 'transformers' in json.loads(mark.read_text()).get('running', '')):
        assert process.poll() is None
        time.sleep(0.1)
    before = set(folder.rglob('*.dist-info'))
    while set(folder.rglob('*.dist-info')) == before:  # until pip begins to write the packages of this step
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / 'bin' / 'mmuniqrnet').exists()
    done = run(*command(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'making it again from the start' in done.stdout
    yield folder
    assert run(*command(folder, '--remove')).returncode == 0
    assert not folder.exists()


def test_it_is_ready_and_says_what_it_is(light):
    done = run(*command(light))
    assert done.stdout == f'[env] {light} is ready (STACK={inspect_installation().stack}, mmcv without compiled ops)\n'
    report = run(light / 'bin' / 'python', '-m', 'mmuniqrnet.env')
    assert report.returncode == 0
    assert 'without compiled ops is enough for mmuniqrnet' in report.stdout


def test_shipped_model_answers(light, tmp_path):
    program = light / 'bin' / 'mmuniqrnet'
    scene = run(program, 'scene', tmp_path / 'scene.png')
    assert scene.returncode == 0, scene.stderr
    done = run(program, 'ground', tmp_path / 'scene.png', 'only heart')
    assert done.returncode == 0, done.stderr
    assert 'only heart' in done.stdout


def test_default_config_trains(light, tmp_path):
    python, data = light / 'bin' / 'python', tmp_path / 'data'
    sizes = ['--train', 16, '--val', 4, '--testA', 4, '--testB', 4]
    made = run(python, 'tools/dataset_tools/make_refshapes.py', data, *sizes)
    assert made.returncode == 0, made.stderr
    options = [f'{part}_dataloader.dataset.data_root={data}' for part in ('train', 'val', 'test')]
    options += ['train_cfg.max_iters=2', 'train_cfg.val_interval=2']
    trained = run(python, 'tools/train.py', CONFIG, '--work-dir', tmp_path / 'work', '--cfg-options', *options)
    assert trained.returncode == 0, trained.stderr
    assert list((tmp_path / 'work').glob('best_*.pth'))
    assert list((tmp_path / 'work').rglob('events.out.tfevents.*'))


def test_op_says_how_to_build_the_ops(light):
    code = 'import torch, mmcv.ops; mmcv.ops.nms(torch.rand(3, 4), torch.rand(3), 0.5)'
    done = run(light / 'bin' / 'python', '-c', code)
    assert done.returncode == 1
    assert "mmcv's compiled op 'nms' is not available" in done.stderr
    assert 'make env OPS=1' in done.stderr


def test_wheel_with_ops_replaces_the_placeholder(light, tmp_path):
    """Runs last: the environment is not light any more."""
    found = inspect_installation()
    if found.mmcv_ops != 'compiled':
        pytest.skip('needs an environment with compiled ops, as `make test-slow` sets up')
    make_wheel(found.mmcv, tmp_path)
    done = run(*command(light, '--mmcv-wheels', str(tmp_path)))
    assert done.returncode == 0, done.stdout + done.stderr
    (site_packages,) = (light / 'lib').glob('python*/site-packages')
    assert [path.suffix for path in (site_packages / 'mmcv').glob('_ext*')] == ['.so']
    assert not list((site_packages / 'mmcv' / '__pycache__').glob('_ext*'))
    code = 'import torch, mmcv.ops; print(mmcv.ops.nms(torch.tensor([[0., 0, 9, 9]] * 2), torch.rand(2), 0.5)[1].shape)'
    assert run(light / 'bin' / 'python', '-c', code).stdout.strip() == 'torch.Size([1])'
    assert 'mmcv with compiled ops' in run(*command(light)).stdout


def make_wheel(name: str, folder: Path) -> None:
    """Pack the installed mmcv, with its compiled ops, as the wheel that it was installed from."""
    distribution = metadata.distribution(name)
    tag = distribution.read_text('WHEEL').partition('Tag: ')[2].split()[0]
    with zipfile.ZipFile(folder / f'{name.replace("-", "_")}-{distribution.version}-{tag}.whl', 'w') as wheel:
        for file in distribution.files:
            if '__pycache__' not in file.parts:
                wheel.write(distribution.locate_file(file), str(file))
