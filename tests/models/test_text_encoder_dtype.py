"""Text encoders whose files have another type than float32, as the encoder is then trained."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from helpers.tiny_model import TEXT_DIM, text_encoder_config
from mmengine.utils import digit_version
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertModel

from mmuniqrnet.models.text_encoder import SHIPPED_TOKENIZERS
from mmuniqrnet.registry import MODELS


def save_bert(path: Path, dtype: torch.dtype, key: str) -> Path:
    """A BERT saved with weights of this type, which its config.json names under ``key``."""
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED_TOKENIZERS['mmuniqrnet:refshapes'])
    tokenizer.save_pretrained(path)
    torch.manual_seed(11)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_DIM,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    BertModel(config, add_pooling_layer=False).to(dtype).save_pretrained(path)
    written = json.loads((path / 'config.json').read_text())
    for name in ('dtype', 'torch_dtype'):
        written.pop(name, None)
    (path / 'config.json').write_text(json.dumps(written | {key: str(dtype).removeprefix('torch.')}))
    return path


# Older versions of transformers write torch_dtype, newer ones dtype; a file of either kind may be met.
@pytest.mark.parametrize('key', ['torch_dtype', 'dtype'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_the_weights_are_float32_whatever_type_the_files_have(tmp_path, dtype, key):
    folder = save_bert(tmp_path / 'bert', dtype, key)
    stored = load_file(folder / 'model.safetensors')
    assert {value.dtype for value in stored.values()} == {dtype}
    encoder = MODELS.build(text_encoder_config(model=str(folder), tokenizer=None))
    parameters = dict(encoder.model.named_parameters())
    assert {value.dtype for value in parameters.values()} == {torch.float32}
    assert all(torch.equal(value, stored[name].float()) for name, value in parameters.items())
    features = encoder(['the red circle'])
    assert features.tokens.dtype == features.sentence.dtype == torch.float32


def test_float32_files_are_not_rounded_to_the_type_that_their_config_names(tmp_path):
    folder = save_bert(tmp_path / 'bert', torch.float32, 'dtype')
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps(config | dict(dtype='float16', torch_dtype='float16')))
    encoder = MODELS.build(text_encoder_config(model=str(folder), tokenizer=None))
    stored = load_file(folder / 'model.safetensors')
    assert all(torch.equal(value, stored[name]) for name, value in encoder.model.named_parameters())


@pytest.mark.skipif(digit_version(transformers.__version__) < digit_version('5'), reason='older ones take float32')
def test_transformers_alone_would_take_the_type_of_the_files(tmp_path):
    folder = save_bert(tmp_path / 'bert', torch.float16, 'torch_dtype')
    assert BertModel.from_pretrained(folder).dtype == torch.float16


def test_it_says_which_parameters_were_loaded(tmp_path):
    folder = save_bert(tmp_path / 'bert', torch.float32, 'dtype')
    weights = folder / 'model.safetensors'
    names = {f'model.{name}' for name in load_file(weights)}
    assert MODELS.build(text_encoder_config(model=str(folder), tokenizer=None)).loaded_at_build == names
    state = load_file(weights)
    absent = 'embeddings.position_embeddings.weight'
    del state[absent]
    (folder / 'model.safetensors').unlink()
    torch.save(state, folder / 'pytorch_model.bin')
    encoder = MODELS.build(text_encoder_config(model=str(folder), tokenizer=None))
    assert encoder.loaded_at_build == names - {f'model.{absent}'}
    assert MODELS.build(text_encoder_config()).loaded_at_build == frozenset()
