"""A small checkout in which the pages' commands can be run: the tools, the configs, data of a few images."""

import json
import shutil
from pathlib import Path

import warm
from helpers.data_trees import write_set
from pages import ROOT
from PIL import Image

NANO = 'uniqrnet_swin-nano_refshapes'

# Arguments with which a command ends in seconds, by the end of its first argument.
SMALLER = {
    'tools/train.py': [
        *('--cfg-options', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=4'),
        *('default_hooks.checkpoint.interval=2', 'default_hooks.logger.interval=1'),
        *('param_scheduler.0.end=1', 'param_scheduler.1.begin=1'),
    ],
    'make_refshapes.py': ['--train=8', '--val=3', '--testA=2', '--testB=2'],
}


def make_workplace(folder: Path) -> None:
    """Fill an empty folder: what a checkout has, data, and a checkpoint of a very short training."""
    link_checkout(folder)
    make = ['python', 'tools/dataset_tools/make_refshapes.py', '--workers=1', *SMALLER['make_refshapes.py']]
    for words in (
        [*make, 'data/refshapes'],
        [*make, 'data/refshapes-none', '--no-target=0.2'],
        ['python', 'tools/train.py', f'configs/{NANO}.py', *SMALLER['tools/train.py']],
    ):
        status, said = warm.run(folder, warm.command, words)
        assert status == 0, said
    make_refer_sets(folder / 'data')
    make_own_data(folder)


def link_checkout(folder: Path) -> None:
    """What a checkout has, in an empty folder that may be written to."""
    for name in ('Makefile', 'benchmarks', 'docs', 'mmuniqrnet', 'setup.py', 'tests', 'tools'):
        (folder / name).symlink_to(ROOT / name)
    (folder / 'configs').mkdir()
    for path in (ROOT / 'configs').iterdir():
        (folder / 'configs' / path.name).symlink_to(path)


def make_refer_sets(data: Path) -> None:
    """RefCOCO, RefCOCO+, RefCOCOg and COCO with an image or two each, none of which is in training and in testing."""
    write_set(data, 'refcoco', 'unc', dict(train=[1, 2], val=[3], testA=[4], testB=[5]))
    write_set(data, 'refcoco+', 'unc', dict(train=[6], val=[7], testA=[8], testB=[9]))
    folder = write_set(data, 'refcocog', 'umd', dict(train=[1], val=[10], test=[11]))
    shutil.copy(folder / 'refs(umd).p', folder / 'refs(google).p')
    (data / 'coco' / 'annotations').mkdir()
    shutil.copy(data / 'refcoco' / 'instances.json', data / 'coco' / 'annotations' / 'instances_train2014.json')


def make_own_data(folder: Path) -> None:
    """Images of one's own, as JSON Lines and in COCO's format."""
    refs, instances = (
        json.loads((folder / 'data' / 'refshapes' / name).read_text()) for name in ('refs.json', 'instances.json')
    )
    boxes = {annotation['id']: annotation['bbox'] for annotation in instances['annotations']}
    (folder / 'my').mkdir()
    (folder / 'my' / 'images').symlink_to(folder / 'data' / 'refshapes' / 'images')
    lines = []
    for ref in refs[:6]:
        x, y, w, h = boxes[ref['ann_id']]
        expressions = [sentence['raw'] for sentence in ref['sentences']]
        lines.append(json.dumps(dict(image=ref['file_name'], expressions=expressions, bbox=[x, y, x + w, y + h])))
    (folder / 'my' / 'train.jsonl').write_text('\n'.join(lines))
    (folder / 'instances.json').write_text(json.dumps(instances))
    phrases = {category['name']: [f'the {category["name"]}'] for category in instances['categories']}
    (folder / 'phrases.json').write_text(json.dumps(phrases))
    Image.open(folder / 'my' / 'images' / refs[0]['file_name']).save(folder / 'picture.png')
