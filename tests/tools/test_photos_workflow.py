"""tools/photos.py from annotations to weights that answer, with random parts in place of the pre-trained ones."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.paths import ROOT
from safetensors import safe_open
from transformers import BertConfig, BertModel

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.datasets.refshapes import make_refshapes
from mmuniqrnet.export.small_text_encoder import write_tokenizer
from mmuniqrnet.models.backbones import EfficientNetLite
from mmuniqrnet.models.text_encoder import SHIPPED_TOKENIZERS

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
    parts = folder / 'data' / 'photo_parts'
    parts.mkdir(parents=True)
    torch.save(EfficientNetLite().state_dict(), parts / 'efficientnet-lite0.pth')
    tokens = (SHIPPED_TOKENIZERS['mmuniqrnet:photos'] / 'vocab.txt').read_text(encoding='utf-8').splitlines()
    sizes = dict(hidden_size=384, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64)
    bert = BertConfig(vocab_size=len(tokens), max_position_embeddings=32, **sizes)
    BertModel(bert, add_pooling_layer=False).save_pretrained(parts / 'text_encoder')
    write_tokenizer(parts / 'text_encoder', tokens)
    return folder


def run(folder: Path) -> str:
    arguments = ['train.json', 'val.json', '--images', 'shapes/images', '--mosaics', '3', '--work-dir', 'work']
    command = [sys.executable, str(ROOT / 'tools' / 'photos.py'), *arguments, '--cfg-options', *SHORT]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_weights_answer_where_nothing_else_is_left(folder, tmp_path, monkeypatch):
    run(folder)
    rows = [row['set'] for row in json.loads((folder / 'work' / 'results.json').read_text())['rows']]
    assert {'photos/val', 'photos_several/val'} <= set(rows)
    said = run(folder)  # all is there: nothing is made or trained again
    assert said.count('delete it to') >= 8
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
