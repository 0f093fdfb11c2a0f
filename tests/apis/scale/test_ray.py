"""Jobs on a Ray of two workers, on this machine."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('ray')
pytest.importorskip('pyarrow')

import pyarrow.parquet as pq
import ray.data
import torch
from helpers.paths import NANO_CONFIG, ROOT

from mmuniqrnet.apis import UniQRNetInferencer, shipped_weights
from mmuniqrnet.apis.scale import RayInferencer
from mmuniqrnet.cli import main
from mmuniqrnet.datasets.refshapes.writer import draw_scene

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings('ignore::DeprecationWarning:ray')]
IMAGES = 24
PART_ROWS = 4
PARTS = (IMAGES + 3) // PART_ROWS + 1


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """Images of RefShapes, and ``rows.jsonl`` with all their expressions; some rows have images that can't be read."""
    folder = tmp_path_factory.mktemp('data')
    lines = []
    for i in range(IMAGES):
        picture, _, described = draw_scene(20240, 'val', i)
        cv2.imwrite(str(folder / f'{i:03d}.png'), picture)
        lines.append(dict(image=f'{i:03d}.png', expressions=[one.raw for group in described for one in group]))
    (folder / 'damaged.png').write_bytes((folder / '000.png').read_bytes()[:100])
    lines.insert(5, dict(image='damaged.png', expressions=['red heart', 'the blue ring']))
    lines.insert(9, dict(image='gone.png', expressions='red heart'))
    lines.append(dict(image='.', expressions='red heart'))
    lines.append(dict(image=lines[-2]['image'], expressions=['the woman', 'the red heart ' * 8]))  # an image again
    (folder / 'rows.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    return folder


@pytest.fixture(scope='module')
def expected(data) -> list[dict]:
    """What the inferencer alone gives, one image after the other, as rows of the output."""
    torch.set_num_threads(1)
    ask = UniQRNetInferencer(weights='shapes', device='cpu', show_progress=False)
    rows = []
    for number, line in enumerate((data / 'rows.jsonl').read_text().splitlines(), 1):
        line = json.loads(line)
        texts = [line['expressions']] if isinstance(line['expressions'], str) else line['expressions']
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # words that the model does not know
            answers = [] if line['image'] == '.' else ask([str(data / line['image'])], [texts])['predictions']
        for n, text in enumerate(texts):
            answer = answers[n] if answers else dict(error='. is a folder, not an image.')
            rows.append(dict(answer, key=f'{number}_{n}', image=line['image'], expression=text.strip()))
    return rows


@pytest.fixture
def local_ray(monkeypatch):
    """A Ray that several jobs of a test use, with the options of ours; its workers find the tests' helpers."""
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(map(str, [ROOT, ROOT / 'tests'])))
    ray.init('local', num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


def ground(*arguments: str | Path) -> int | str | None:
    """The exit status of ``mmuniqrnet ground --ray``, in this process."""
    with pytest.raises(SystemExit) as stopped:
        main(['ground', '--ray', *map(str, arguments)])
    return stopped.value.code


def require_equal(folder: Path, expected: list[dict]) -> None:
    """Each answer is there once, and is the one that the inferencer gives without Ray."""
    rows = pq.read_table(folder).to_pylist()
    assert [row['key'] for row in rows] == [answer['key'] for answer in expected]
    for row, answer in zip(rows, expected, strict=True):
        assert (row['image'], row['expression'].strip()) == (answer['image'], answer['expression'].strip())
        assert (row['error'] is None) == ('error' not in answer), row
        if 'error' in answer:
            assert Path(answer['image']).name in row['error']
            continue
        for key in ('size', 'frame', 'refused', 'unknown_words'):
            assert row[key] == answer[key], key
        # The expressions of a batch are others, so that sums are rounded differently.
        assert row['score'] == pytest.approx(answer['score'], abs=1e-5)
        assert row['box'] == pytest.approx(answer['box'], abs=1e-3)
        assert row['mask'] == answer['mask']['counts']


def started(folder: Path, parts_before: int, timeout: float = 120, but: tuple[int, ...] = ()) -> int:
    """Wait until more parts are complete than that, and another one is begun; the process that works on that one."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if len(list(folder.glob('part-*.parquet'))) > parts_before:
            for path in (folder / '_job' / 'tries').glob('*'):
                try:
                    process = int(path.read_text().splitlines()[-1].split('\t')[0].split(':')[-1])
                except (OSError, IndexError):  # complete in the meantime, or not written yet
                    continue
                if process not in but:
                    return process
        time.sleep(0.002)
    raise AssertionError('no part was begun')


def test_answers_are_those_without_ray(data, expected, tmp_path):
    """As users start it, with a Ray of its own, from another folder than that of the data."""
    out = tmp_path / 'out'
    command = [sys.executable, '-m', 'mmuniqrnet.cli', 'ground', '--ray', str(data / 'rows.jsonl')]
    command += ['--out', str(out), '--workers', '2', '--part-rows', str(PART_ROWS)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | dict(OMP_NUM_THREADS='1'))
    assert done.returncode == 1 and 'Traceback' not in done.stderr, done.stderr  # 1: some images can't be read
    require_equal(out, expected)
    rows = {row['key']: row for row in pq.read_table(out).to_pylist()}
    assert rows['28_0']['unknown_words'] == ['woman'] and rows['28_0']['kept'] is None
    assert len(rows['28_1']['kept']) < len(rows['28_1']['expression'])
    failed = [row for row in rows.values() if row['error']]
    assert len(failed) == 4 and not any(row['box'] or row['mask'] or row['score'] for row in failed)
    first, second, last = done.stdout.splitlines()
    assert first.startswith(f'{len(rows)} answers in ') and '% network' in second
    assert last == f'{out}: {len(rows)} answers in {PARTS} parts, 4 of them with an error.'
    assert not [path for path in out.iterdir() if path.name.startswith('.')]


def test_a_killed_worker_loses_nothing_and_answers_nothing_twice(data, expected, tmp_path, local_ray):
    killed = []

    def kill() -> None:
        for before in (0, 2):
            killed.append(started(tmp_path / 'out', before, but=tuple(killed)))
            os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    assert ground(data / 'rows.jsonl', '--out', tmp_path / 'out', '--part-rows', PART_ROWS) == 1
    thread.join()
    assert len(killed) == 2
    require_equal(tmp_path / 'out', expected)


def test_a_second_start_goes_on_where_the_first_ended(data, expected, tmp_path, capsys):
    out = tmp_path / 'out'
    arguments = [str(data / 'rows.jsonl'), '--out', str(out), '--workers', '1', '--part-rows', str(PART_ROWS)]
    command = [sys.executable, '-m', 'mmuniqrnet.cli', 'ground', '--ray', *arguments]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    worker = started(out, 1)
    first.kill()
    first.wait()
    end = time.monotonic() + 60
    while Path(f'/proc/{worker}').exists() and time.monotonic() < end:  # Ray ends it when it misses the driver
        time.sleep(0.1)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob('part-*.parquet')}
    assert 2 <= len(before) < PARTS
    assert ground(*arguments) == 1
    assert f'{len(before)} of {PARTS} parts were complete before.' in capsys.readouterr().out
    require_equal(out, expected)
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in before} == before
    again = time.monotonic()
    assert ground(*arguments) == 1
    assert time.monotonic() - again < 10  # without Ray
    refused = ground(*arguments, '--refuse-below', '0.5')
    assert 'nothing is overwritten' in refused and refused.count('.\n') == 0
    require_equal(out, expected)


def test_an_image_that_ends_every_process_gets_an_error(data, expected, tmp_path, local_ray):
    """After the processes that it ended, all other images are answered as before."""
    config = tmp_path / 'ends.py'
    config.write_text(
        f"_base_ = '{NANO_CONFIG}'\n"
        "custom_imports = dict(imports=['helpers.ending_transform'], allow_failed_imports=False)\n"
        "load = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')\n"
        "end = dict(type='EndProcess', name='006.png')\n"
        "resize = dict(type='ReferResize', scale=(64, 64), keep_ratio=True)\n"
        "pipeline = [load, end, resize, dict(type='PackReferInputs')]\n"
        'test_dataloader = dict(dataset=dict(pipeline=pipeline))\n'
    )
    arguments = ('--config', config, '--weights', shipped_weights('shapes'), '--out', tmp_path / 'out')
    assert ground(data / 'rows.jsonl', *arguments, '--part-rows', 14) == 1
    rows = {row['key']: row for row in pq.read_table(tmp_path / 'out').to_pylist()}
    deadly = [row for row in rows.values() if row['image'] == '006.png']
    assert deadly and all('the process that worked on this image ended' in row['error'] for row in deadly)
    for answer in expected:
        if 'error' not in answer and answer['image'] != '006.png':
            assert rows[answer['key']]['score'] == pytest.approx(answer['score'], abs=1e-5)
    assert len(rows) == len(expected)


def test_the_inferencer_is_an_actor_of_any_dataset(data, expected, local_ray):
    items = [
        dict(row=i, image=str(data / f'{i % 3:03d}.png'), expressions=text, other=i)
        for i, text in enumerate(['red heart', 'the blue ring', 'green star'] * 4)
    ]
    dataset = ray.data.from_items(items).map_batches(
        RayInferencer,
        fn_constructor_kwargs=dict(device='cpu', threads=1),
        compute=ray.data.ActorPoolStrategy(size=2),
        num_cpus=1,
        batch_size=6,
    )
    rows = sorted(dataset.take_all(), key=lambda row: int(row['key'].split('_')[0]))
    assert [row['key'] for row in rows] == [f'{i}_0' for i in range(12)]
    ask = UniQRNetInferencer(weights='shapes', device='cpu', show_progress=False)
    for item, row in zip(items, rows, strict=True):
        answer = ask(item['image'], item['expressions'])['predictions'][0]
        assert np.allclose(row['box'], answer['box'], atol=1e-3) and row['mask'] == answer['mask']['counts']


def test_a_part_that_cannot_be_written_ends_the_job_in_one_sentence(data, tmp_path, local_ray):
    arguments = (data, 'red heart', '--out', tmp_path / 'out', '--workers', '1', '--part-rows', '14')
    assert 'not enough for 1 workers' in ground(*arguments, '--cpus-per-worker', '3')  # the job is there, without parts
    (tmp_path / 'out' / 'part-000001.parquet').mkdir()
    assert ground(*arguments) == f'error: {tmp_path}/out/part-000001.parquet cannot be written: Is a directory.'


def test_too_many_resources_are_refused(data, tmp_path, local_ray):
    arguments = (data / 'rows.jsonl', '--out', tmp_path / 'out')
    assert 'not enough for 3 workers' in ground(*arguments, '--workers', '3')
    assert 'not enough for 1 workers' in ground(*arguments, '--gpus-per-worker', '64')
    assert '--workers 0' in ground(*arguments, '--workers', '0')
    assert '--gpus-per-worker 1.5' in ground(*arguments, '--gpus-per-worker', '1.5')
