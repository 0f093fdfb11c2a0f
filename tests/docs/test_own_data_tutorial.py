"""The tutorial on one's own images, run word for word; what comes out is compared with what it promises."""

import json
from pathlib import Path

import numpy as np
import pytest
from pages import ROOT, Page
from PIL import Image
from pycocotools import mask as coco_mask
from running import run_page
from workplace import link_checkout

PAGE = Page(ROOT / 'docs' / 'tutorials' / 'own_data.md')


def test_every_block_can_be_run(tmp_path):
    """What can be known without running it, which takes half a minute: `make test` reads, `make test-slow` runs it."""
    link_checkout(tmp_path)
    run_page(PAGE, tmp_path, read_only=True)


@pytest.fixture(scope='module')
def done(tmp_path_factory) -> Path:
    """The folder in which every block of the page was run."""
    folder = tmp_path_factory.mktemp('tutorial')
    link_checkout(folder)
    run_page(PAGE, folder)
    return folder


def row_of(work_dir: Path) -> dict:
    (row,) = json.loads((work_dir / 'results.json').read_text())['rows']
    return row


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / 'my' / 'train.jsonl').read_text().splitlines()]


@pytest.mark.slow
def test_ten_images_and_a_config_of_ten_lines(done):
    assert len({line['image'] for line in lines(done)}) == 10
    assert len((done / 'my' / 'mine.py').read_text().splitlines()) == 10


@pytest.mark.slow
def test_training_loss_falls(done):
    (log,) = (done / 'work_dirs' / 'mine').glob('*/vis_data/scalars.json')
    losses = [entry['loss'] for entry in map(json.loads, log.read_text().splitlines()) if 'loss' in entry]
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.slow
def test_training_improves_boxes_and_masks(done):
    start, trained = (row_of(done / 'work_dirs' / name) for name in ('start', 'mine'))
    assert start['set'] == trained['set'] == 'my/test'
    assert start['N'] == trained['N'] == sum(len(line['expressions']) for line in lines(done))
    assert trained['box_mIoU'] > start['box_mIoU'] + 2
    assert trained['mIoU'] > start['mIoU']


@pytest.mark.slow
def test_table_agrees_with_the_inferencer(done):
    """Boxes and masks of each answer, inside its image and scored anew, in NumPy."""
    from mmuniqrnet.apis import UniQRNetInferencer

    ask = UniQRNetInferencer(weights=done / 'my' / 'mine.safetensors', device='cpu', show_progress=False)
    box_ious, mask_ious = [], []
    for line in lines(done):
        truth = np.asarray(Image.open(done / 'my' / line['mask'])) > 0
        height, width = truth.shape
        rows, columns = np.nonzero(truth)
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        for answer in ask(str(done / 'my' / line['image']), line['expressions'])['predictions']:
            x1, y1, x2, y2 = answer['box']
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height and 0 < answer['score'] < 1
            assert answer['size'] == [height, width] == answer['mask']['size']
            inner = max(0, min(x2, right) - max(x1, left)) * max(0, min(y2, bottom) - max(y1, top))
            box_ious.append(inner / ((x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - inner))
            guess = coco_mask.decode(answer['mask']).astype(bool)
            mask_ious.append((guess & truth).sum() / (guess | truth).sum())
    row = row_of(done / 'work_dirs' / 'mine')
    assert row['box_mIoU'] == pytest.approx(100 * np.mean(box_ious), abs=0.01)
    assert row['mIoU'] == pytest.approx(100 * np.mean(mask_ious), abs=0.01)
    assert row['Acc@0.5'] == pytest.approx(100 * np.mean(np.array(box_ious) >= 0.5), abs=0.01)


@pytest.mark.slow
def test_command_wrote_its_answers(done):
    answers = done / 'my' / 'answers'
    predictions = json.loads((answers / 'predictions.json').read_text())['predictions']
    assert len(predictions) == 10
    for prediction in predictions:
        assert (answers / prediction['mask_file']).is_file() and (answers / prediction['picture_file']).is_file()
    assert len(list((done / 'my' / 'fed').glob('*.png'))) == 8
