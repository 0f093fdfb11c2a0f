"""The pre-trained parts of the network for photographs, of the right sizes and with random weights."""

from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from mmuniqrnet.export.small_text_encoder import write_tokenizer
from mmuniqrnet.models.backbones import EfficientNetLite
from mmuniqrnet.models.text_encoder import SHIPPED_TOKENIZERS


def make_photo_parts(folder: Path) -> Path:
    """Write what tools/model_converters/photo_parts.py writes into a new folder."""
    folder.mkdir(parents=True)
    torch.save(EfficientNetLite().state_dict(), folder / 'efficientnet-lite0.pth')
    tokens = (SHIPPED_TOKENIZERS['mmuniqrnet:photos'] / 'vocab.txt').read_text(encoding='utf-8').splitlines()
    sizes = dict(hidden_size=384, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64)
    bert = BertConfig(vocab_size=len(tokens), max_position_embeddings=32, **sizes)
    BertModel(bert, add_pooling_layer=False).save_pretrained(folder / 'text_encoder')
    write_tokenizer(folder / 'text_encoder', tokens)
    return folder
