"""Published configs build their text encoder from settings, without the folder that the training started from."""

import shutil

import torch
from mmengine.config import Config
from transformers import BertConfig, BertModel

from mmuniqrnet.export.small_text_encoder import write_tokenizer
from mmuniqrnet.export.text_settings import with_text_settings
from mmuniqrnet.models import TextEncoder
from mmuniqrnet.models.text_encoder import SHIPPED_TOKENIZERS

NAME = 'mmuniqrnet:photos'
SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)


def test_an_encoder_of_the_settings_takes_the_weights_and_answers_alike(tmp_path):
    tokens = (SHIPPED_TOKENIZERS[NAME] / 'vocab.txt').read_text(encoding='utf-8').splitlines()
    bert = BertConfig(vocab_size=len(tokens), max_position_embeddings=20, hidden_dropout_prob=0.25, **SIZES)
    torch.manual_seed(0)
    BertModel(bert, add_pooling_layer=False).save_pretrained(tmp_path / 'bert')
    write_tokenizer(tmp_path / 'bert', tokens)
    started = TextEncoder(str(tmp_path / 'bert'), tokenizer=NAME).eval()

    given = dict(type='TextEncoder', model=str(tmp_path / 'bert'), tokenizer=NAME, max_length=12)
    settings = with_text_settings(Config(dict(model=dict(text_encoder=given)))).model.text_encoder
    shutil.rmtree(tmp_path / 'bert')
    assert settings.tokenizer == NAME and settings.max_length == 12
    expected = dict(SIZES, model_type='bert', vocab_size=len(tokens), max_position_embeddings=20)
    assert settings.model == expected | dict(hidden_dropout_prob=0.25)
    asked = TextEncoder(settings.model.to_dict(), tokenizer=settings.tokenizer).eval()
    asked.load_state_dict(started.state_dict())
    texts = ['the left person', 'dog']
    with torch.no_grad():
        assert torch.equal(asked(texts).tokens, started(texts).tokens)


def test_what_has_no_name_or_is_not_found_is_kept(tmp_path):
    for encoder in (
        dict(type='TextEncoder', model=dict(model_type='bert'), tokenizer=NAME),
        dict(type='TextEncoder', model=str(tmp_path / 'gone'), tokenizer=NAME),
        dict(type='OtherEncoder', model=str(tmp_path)),
    ):
        cfg = Config(dict(model=dict(text_encoder=encoder)))
        assert with_text_settings(cfg).model.text_encoder == encoder
    assert with_text_settings(Config(dict(model=dict(type='mmdet.MaskRCNN')))).model == dict(type='mmdet.MaskRCNN')


def test_the_tokenizer_is_that_of_the_name(tmp_path):
    bert = BertConfig(vocab_size=7, **SIZES)
    bert.save_pretrained(tmp_path)
    cfg = with_text_settings(Config(dict(model=dict(text_encoder=dict(type='TextEncoder', model=str(tmp_path))))))
    assert cfg.model.text_encoder.tokenizer == str(tmp_path)
    assert cfg.model.text_encoder.model.vocab_size == 7
