"""The inferencer answers as tools/test.py does: the same checkpoint, images and expressions, to the bit.

Every second picture has an EXIF orientation, which tools/test.py ignores, as the inferencer does when asked to.
"""

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers.nano_model import nano_checkpoint
from helpers.paths import NANO_CONFIG
from mmengine.registry import DefaultScope
from PIL import Image
from pycocotools import mask as coco_mask

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.datasets.refshapes import make_refshapes

UPRIGHT = dict(frame='upright')
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def tested(tmp_path_factory) -> tuple[Path, list[dict]]:
    """A checkpoint, and what tools/test.py dumped of its answers, in one batch."""
    folder = tmp_path_factory.mktemp('same')
    make_refshapes(str(folder / 'data'), num_images=dict(train=1, val=4, testA=2, testB=2), workers=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in sorted((folder / 'data').rglob('*.png'))[::2]:
        Image.open(path).save(path, exif=exif)
    weights = nano_checkpoint(folder / 'nano.safetensors')
    spec = importlib.util.spec_from_file_location('tool_test', ROOT / 'tools' / 'test.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main(
        [
            str(NANO_CONFIG),
            str(weights),
            '--work-dir',
            str(folder),
            '--out',
            str(folder / 'answers.pkl'),
            '--cfg-options',
            'experiment_name=same',
            'visualizer.name=same',
            *(f'{part}_dataloader.dataset.data_root={folder / "data"}' for part in ('train', 'val', 'test')),
        ]
    )
    DefaultScope._instance_dict.clear()
    return weights, pickle.loads((folder / 'answers.pkl').read_bytes())


@pytest.mark.parametrize('batch_size', [64, 5])
def test_answers_equal_those_of_the_test_tool(tested, batch_size):
    weights, expected = tested
    asked: dict[str, list[str]] = {}
    for sample in expected:
        asked.setdefault(sample['img_path'], []).append(sample['text'])
    ask = UniQRNetInferencer(weights=weights, device='cpu', show_progress=False)
    answers = ask(list(asked), list(asked.values()), batch_size=batch_size, orientation='stored')['predictions']
    by_question = {(answer['image'], answer['expression']): answer for answer in answers}
    assert len(by_question) == len(expected) <= 64  # the test loader's batch
    tagged = {path for path in asked if Image.open(path).getexif()}
    assert 0 < len(tagged) < len(asked) and {answer['frame'] for answer in answers} == {'stored'}
    if batch_size == 64:
        upright = ask(list(asked), list(asked.values()), batch_size=batch_size)['predictions']
        for one, other in zip(answers, upright, strict=True):
            assert (other['size'] == one['size'][::-1]) if one['image'] in tagged else (other == one | UPRIGHT)
    for sample in expected:
        answer, truth = by_question[sample['img_path'], sample['text']], sample['pred_instances']
        box, score = truth['bboxes'][0].tolist(), truth['scores'][0].item()
        (mask,) = truth['masks']
        differing = np.count_nonzero(coco_mask.decode(answer['mask']) != coco_mask.decode(mask))
        if batch_size == 64:
            assert differing == 0 and answer['box'] == box and answer['score'] == score
        else:  # sums of floats depend on how many rows are multiplied at a time, and a pixel may lie at the threshold
            assert differing <= 1
            assert answer['box'] == pytest.approx(box, abs=1e-3) and answer['score'] == pytest.approx(score, abs=1e-5)
