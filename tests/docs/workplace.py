"""A checkout in small, in which the pages' commands can be typed: the tools, the configs, data of a few images."""

import importlib.util
import json
import shutil
from pathlib import Path

from doc_pages import ROOT
from PIL import Image
from warm_shell import WarmShell

NANO = 'uniqrnet_swin-nano_refshapes'
SPLITS = dict(train=8, val=3, testA=2, testB=2)

# What a command is given besides, so that it ends in seconds. The first word that ends so decides.
SMALLER = {
    'tools/train.py': [
        '--cfg-options',
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'default_hooks.checkpoint.interval=2',
        'default_hooks.logger.interval=1',
        'train_dataloader.batch_size=4',
        'param_scheduler.0.end=1',
        'param_scheduler.1.begin=1',
    ],
    'make_refshapes.py': [f'--{split}={count}' for split, count in SPLITS.items()],
}


def make_workplace(folder: Path, shell: WarmShell) -> None:
    """Fill an empty folder: tools, data, and a trained checkpoint of no merit."""
    link_checkout(folder)
    for arguments in (['data/refshapes'], ['data/refshapes-none', '--no-target=0.2']):
        status, said = shell.run(
            [
                'python',
                'tools/dataset_tools/make_refshapes.py',
                *arguments,
                '--workers=1',
                *SMALLER['make_refshapes.py'],
            ]
        )
        assert status == 0, said
    make_refer_sets(folder / 'data')
    make_own_data(folder)
    status, said = shell.run(['python', 'tools/train.py', f'configs/{NANO}.py', *SMALLER['tools/train.py']])
    assert status == 0, said


def link_checkout(folder: Path) -> None:
    """What a checkout has, in an empty folder that may be written to."""
    for name in ('benchmarks', 'docs', 'mmuniqrnet', 'setup.py', 'tests', 'tools'):
        (folder / name).symlink_to(ROOT / name)
    (folder / 'configs').mkdir()
    for path in (ROOT / 'configs').iterdir():
        (folder / 'configs' / path.name).symlink_to(path)


def make_refer_sets(data: Path) -> None:
    """RefCOCO, RefCOCO+, RefCOCOg and COCO with an image or two each, none of which is in training and in testing."""
    spec = importlib.util.spec_from_file_location('trees', ROOT / 'tests/analysis/data_trees.py')
    trees = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(trees)
    trees.write_set(data, 'refcoco', 'unc', dict(train=[1, 2], val=[3], testA=[4], testB=[5]))
    trees.write_set(data, 'refcoco+', 'unc', dict(train=[6], val=[7], testA=[8], testB=[9]))
    folder = trees.write_set(data, 'refcocog', 'umd', dict(train=[1], val=[10], test=[11]))
    shutil.copy(folder / 'refs(umd).p', folder / 'refs(google).p')
    (data / 'coco' / 'annotations').mkdir()
    shutil.copy(data / 'refcoco' / 'instances.json', data / 'coco' / 'annotations' / 'instances_train2014.json')


def make_own_data(folder: Path) -> None:
    """Pictures of one's own, as JSON Lines and in COCO's format."""
    refs = json.loads((folder / 'data' / 'refshapes' / 'refs.json').read_text())
    instances = json.loads((folder / 'data' / 'refshapes' / 'instances.json').read_text())
    boxes = {annotation['id']: annotation['bbox'] for annotation in instances['annotations']}
    (folder / 'my').mkdir()
    (folder / 'my' / 'images').symlink_to(folder / 'data' / 'refshapes' / 'images')
    with (folder / 'my' / 'train.jsonl').open('w') as file:
        for ref in refs[:6]:
            x, y, w, h = boxes[ref['ann_id']]
            line = dict(
                image=ref['file_name'],
                expressions=[sentence['raw'] for sentence in ref['sentences']],
                bbox=[x, y, x + w, y + h],
            )
            print(json.dumps(line), file=file)
    (folder / 'instances.json').write_text(json.dumps(instances))
    phrases = {category['name']: [f'the {category["name"]}'] for category in instances['categories']}
    (folder / 'phrases.json').write_text(json.dumps(phrases))
    Image.open(folder / 'my' / 'images' / refs[0]['file_name']).save(folder / 'picture.png')
