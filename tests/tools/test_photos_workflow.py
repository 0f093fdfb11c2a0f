"""tools/photos.py from annotations to weights that answer, with random parts in place of the pre-trained ones."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.photo_parts import make_photo_parts
from safetensors import safe_open

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.datasets.refshapes import make_refshapes

pytestmark = pytest.mark.slow
SHORT = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=4']


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Scenes of RefShapes as the files of a detection data set, and parts of the right sizes."""
    folder = tmp_path_factory.mktemp('photos')
    make_refshapes(str(folder / 'shapes'), num_images=dict(train=8, val=4), workers=1)
    content = json.loads((folder / 'shapes' / 'instances.json').read_text())
    refs = json.loads((folder / 'shapes' / 'refs.json').read_text())
    held_out = {ref['image_id'] for ref in refs if ref['split'] == 'val'}
    for name, wanted in (('train', False), ('val', True)):
        images = [image for image in content['images'] if (image['id'] in held_out) == wanted]
        ids = {image['id'] for image in images}
        annotations = [annotation for annotation in content['annotations'] if annotation['image_id'] in ids]
        (folder / f'{name}.json').write_text(json.dumps(content | dict(images=images, annotations=annotations)))
    make_photo_parts(folder / 'data' / 'photo_parts')
    return folder


def run(folder: Path) -> str:
    arguments = ['train.json', 'val.json', '--images', 'shapes/images', '--mosaics', '3', '--work-dir', 'work']
    command = [sys.executable, str(ROOT / 'tools' / 'photos.py'), *arguments, '--cfg-options', *SHORT]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def check_ablations(folder: Path) -> None:
    """Rows of the ablation train on these data, from the training on names, and are in the table."""
    script = [sys.executable, str(ROOT / 'benchmarks' / 'ablations' / 'photos.py'), '--results', 'results']
    rows = ('boxes', 'masks', 'dense-extent')
    options = ['--start', 'work/names/iter_2.pth', '--rows', *rows, '--seeds', '3', '--iterations', '2', '--jobs', '2']
    done = subprocess.run([*script, *options], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert sorted(path.name for path in (folder / 'results').iterdir()) == [f'{row}_seed3.json' for row in sorted(rows)]
    again = subprocess.run([*script, *options], cwd=folder, capture_output=True, text=True)
    assert '3 runs, 3 of them finished' in again.stdout and again.stdout.count('done') == 0
    said = subprocess.run([*script, '--table'], cwd=folder, capture_output=True, text=True).stdout
    cells = {
        line.split('|')[1].strip(): [cell.strip() for cell in line.split('|')[4:8]] for line in said.splitlines()[2:]
    }
    assert set(cells) == {f'`{row}`' for row in rows}
    # Acc@0.5 needs boxes, mIoU needs masks.
    assert [bool(cell) for cell in cells['`boxes`']] == [True, False, True, False]
    assert [bool(cell) for cell in cells['`masks`']] == [False, True, False, True]


def test_weights_answer_where_nothing_else_is_left(folder, tmp_path, monkeypatch):
    run(folder)
    rows = [row['set'] for row in json.loads((folder / 'work' / 'results.json').read_text())['rows']]
    assert {'photos/val', 'photos_several/val'} <= set(rows)
    said = run(folder)  # all is there: nothing is made or trained again
    assert said.count('delete it to') >= 8
    check_ablations(folder)
    weights = shutil.copy(folder / 'work' / 'uniqrnet_efficientnet-lite0_photos.safetensors', tmp_path)
    image = shutil.copy(next((folder / 'shapes' / 'images').rglob('*.png')), tmp_path)
    shutil.rmtree(folder / 'data')
    monkeypatch.chdir(tmp_path)
    with safe_open(weights, framework='pt') as file:
        assert str(folder) not in str(file.metadata())
    ask = UniQRNetInferencer(weights=weights, device='cpu', show_progress=False)
    assert ask.made_for == 'photographs'
    (answer,) = ask(image, 'the left circle')['predictions']
    assert 0 <= answer['score'] <= 1 and len(answer['box']) == 4
