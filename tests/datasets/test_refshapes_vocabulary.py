"""The tokenizer that comes with RefShapes."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from mmuniqrnet.datasets.refshapes import VOCAB_DIR
from mmuniqrnet.datasets.refshapes.expressions import lexicon
from mmuniqrnet.datasets.refshapes.vocabulary import write_vocabulary
from mmuniqrnet.datasets.refshapes.writer import PLANS, draw_scene


@pytest.fixture(scope='module')
def tokenizer():
    return AutoTokenizer.from_pretrained(VOCAB_DIR)


@pytest.fixture(scope='module')
def raws() -> list[str]:
    return [
        one.raw
        for split in PLANS
        for index in range(60)
        for expressions in draw_scene(3, split, index)[2]
        for one in expressions
    ]


def test_the_folder_is_what_the_grammar_gives(tmp_path):
    write_vocabulary(str(tmp_path))
    for path in tmp_path.iterdir():
        assert (Path(VOCAB_DIR) / path.name).read_bytes() == path.read_bytes(), (
            f'{path.name} is not up to date: call write_vocabulary(VOCAB_DIR)'
        )


def test_it_is_a_lower_casing_bert_tokenizer(tokenizer):
    text = 'The red Circle, LEFTMOST'
    assert tokenizer.tokenize(text) == ['the', 'red', 'circle', ',', 'leftmost']
    ids = tokenizer(text)['input_ids']
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (0, 1, 4)
    batch = tokenizer([text, 'star'], padding=True)
    assert batch['input_ids'][1][3:] == [0] * 4 and batch['attention_mask'][1] == [1, 1, 1, 0, 0, 0, 0]


def test_every_word_is_one_token_and_expressions_are_short(tokenizer, raws):
    words = {word for raw in raws for word in raw.lower().replace(',', ' , ').split()}
    assert all(tokenizer.tokenize(word) == [word] for word in words)
    assert max(len(tokenizer(raw)['input_ids']) for raw in raws) <= 16
    # What is in the lexicon does occur, too.
    assert set(lexicon()) == words - {','} and len(lexicon()) <= 90


def test_other_words_become_letters_not_unknown(tokenizer):
    text = 'Hippopotamus #7 wearing a (café) hat?'
    tokens = tokenizer.tokenize(text)
    assert '[UNK]' not in tokens
    assert ''.join(tokens).replace('##', '') == 'hippopotamus#7wearinga(cafe)hat?'
