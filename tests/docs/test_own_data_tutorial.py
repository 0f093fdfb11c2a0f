"""The tutorial on one's own pictures, typed word for word; what comes out is compared with what it promises."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from block_runner import run_block
from doc_pages import ROOT, Page
from PIL import Image
from pycocotools import mask as coco_mask
from workplace import link_checkout

PAGE = Page(ROOT / 'docs' / 'tutorials' / 'own_data.md')


@pytest.fixture(scope='module')
def typed(tmp_path_factory, shell) -> Path:
    """The folder in which every block of the page was run."""
    folder = tmp_path_factory.mktemp('tutorial')
    link_checkout(folder)
    shell.enter(folder)
    for block in PAGE.blocks:
        run_block(block, shell)
    return folder


def row_of(work_dir: Path) -> dict:
    (row,) = json.loads((work_dir / 'results.json').read_text())['rows']
    return row


def things(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / 'my' / 'train.jsonl').read_text().splitlines()]


def test_ten_pictures_and_a_config_of_ten_lines(typed):
    assert len({thing['image'] for thing in things(typed)}) == 10
    assert len((typed / 'my' / 'mine.py').read_text().splitlines()) == 10


def test_training_loss_falls(typed):
    (log,) = (typed / 'work_dirs' / 'mine').glob('*/vis_data/scalars.json')
    losses = [entry['loss'] for entry in map(json.loads, log.read_text().splitlines()) if 'loss' in entry]
    assert losses[-1] < 0.95 * losses[0]


def test_training_improves_boxes_and_masks_of_its_pictures(typed):
    start, trained = (row_of(typed / 'work_dirs' / name) for name in ('start', 'mine'))
    assert start['set'] == trained['set'] == 'my/test'
    assert start['N'] == trained['N'] == sum(len(thing['expressions']) for thing in things(typed))
    assert trained['box_mIoU'] > start['box_mIoU'] + 2
    assert trained['mIoU'] > start['mIoU']


@pytest.fixture(scope='module')
def answers(typed) -> list[tuple[dict, np.ndarray]]:
    """What the inferencer says to each expression of the file, and the true mask."""
    from mmuniqrnet.apis import UniQRNetInferencer

    torch.set_num_threads(1)
    ask = UniQRNetInferencer(weights=typed / 'my' / 'mine.safetensors', device='cpu', show_progress=False)
    found = []
    for thing in things(typed):
        truth = np.asarray(Image.open(typed / 'my' / thing['mask'])) > 0
        for answer in ask(str(typed / 'my' / thing['image']), thing['expressions'])['predictions']:
            found.append((answer, truth))
    return found


def test_answers_lie_in_their_pictures(answers):
    for answer, truth in answers:
        height, width = truth.shape
        x1, y1, x2, y2 = answer['box']
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        assert answer['size'] == [height, width] == answer['mask']['size']
        assert 0 < answer['score'] < 1


def test_figures_of_the_table_are_those_of_the_answers(typed, answers):
    """Counted anew, in NumPy, from what the inferencer says."""
    box_ious, mask_ious = [], []
    for answer, truth in answers:
        rows, columns = np.nonzero(truth)
        x1, y1, x2, y2 = answer['box']
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        inner = max(0, min(x2, right) - max(x1, left)) * max(0, min(y2, bottom) - max(y1, top))
        box_ious.append(inner / ((x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - inner))
        guess = coco_mask.decode(answer['mask']).astype(bool)
        mask_ious.append((guess & truth).sum() / (guess | truth).sum())
    row = row_of(typed / 'work_dirs' / 'mine')
    assert row['box_mIoU'] == pytest.approx(100 * np.mean(box_ious), abs=0.01)
    assert row['mIoU'] == pytest.approx(100 * np.mean(mask_ious), abs=0.01)
    assert row['Acc@0.5'] == pytest.approx(100 * np.mean(np.array(box_ious) >= 0.5), abs=0.01)


def test_command_wrote_its_answers(typed):
    predictions = json.loads((typed / 'my' / 'answers' / 'predictions.json').read_text())['predictions']
    assert len(predictions) == 10
    for prediction in predictions:
        assert (typed / 'my' / 'answers' / prediction['mask_file']).is_file()
        assert (typed / 'my' / 'answers' / prediction['picture_file']).is_file()
    assert len(list((typed / 'my' / 'fed').glob('*.png'))) == 8
