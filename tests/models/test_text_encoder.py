import huggingface_hub
import pytest
import torch
from helpers.tiny_model import NUM_TOKENS, TEXT_DIM, text_encoder_config, tiny_model
from transformers import AutoTokenizer, BertConfig, BertModel

from mmuniqrnet.models.text_encoder import SHIPPED_TOKENIZERS
from mmuniqrnet.registry import MODELS

EXPRESSIONS = ['the red circle', 'Blue star on the left', 'x']


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A BERT with random weights and its tokenizer, saved as from_pretrained expects."""
    path = tmp_path_factory.mktemp('bert')
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED_TOKENIZERS['mmuniqrnet:refshapes'])
    tokenizer.save_pretrained(path)
    torch.manual_seed(11)
    BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_DIM,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=32,
        )
    ).save_pretrained(path)
    return str(path)


def encoder(**changes):
    torch.manual_seed(0)
    return MODELS.build(text_encoder_config(**changes)).eval()


def test_features_are_those_of_transformers(folder):
    features = encoder(model=folder, tokenizer=None)(EXPRESSIONS)
    bert, tokenizer = BertModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for i, expression in enumerate(EXPRESSIONS):
        tokens = bert(**tokenizer(expression, return_tensors='pt')).last_hidden_state[0]  # alone, with no padding
        assert torch.allclose(features.tokens[i, : len(tokens)], tokens, atol=1e-5)
        assert torch.equal(features.sentence[i], features.tokens[i, 0])
        assert features.padding_mask[i].tolist() == [False] * len(tokens) + [True] * (NUM_TOKENS - len(tokens))


def test_a_saved_folder_loads_the_same_twice(folder):
    torch.manual_seed(1)
    one = encoder(model=folder, tokenizer=None)
    torch.manual_seed(2)
    other = encoder(model=folder, tokenizer=None)
    assert torch.equal(one(EXPRESSIONS).tokens, other(EXPRESSIONS).tokens)


def test_shapes_and_width():
    model = encoder(max_length=6)
    features = model(EXPRESSIONS)
    assert features.tokens.shape == (3, 6, TEXT_DIM) and features.sentence.shape == (3, TEXT_DIM)
    assert features.padding_mask.dtype == torch.bool and model.text_dim == TEXT_DIM


def test_long_expressions_are_cut_and_keep_their_end_token():
    model = encoder(max_length=5)
    ids, mask = model.tokenize(['the small red circle on the left of the star'])
    assert model.tokenizer.convert_ids_to_tokens(ids[0]) == ['[CLS]', 'the', 'small', 'red', '[SEP]']
    assert mask.tolist() == [[1] * 5]


def test_tokens_are_found_when_no_more_expressions_are_kept(monkeypatch):
    monkeypatch.setattr('mmuniqrnet.models.text_encoder.MOST_KNOWN', 3)
    kept, alone = encoder(), encoder()
    kept.tokenize(['a circle', 'a star', 'the left one'])
    for batch in (['a star', 'x', 'a star'], ['x', 'a circle', 'a star', 'the left one', 'red'], ['red', 'x']):
        expected = [torch.cat(rows) for rows in zip(*(alone.tokenize([text]) for text in batch))]
        assert all(map(torch.equal, kept.tokenize(batch), expected))


def test_expressions_are_lower_cased():
    model = encoder()
    assert torch.equal(*(model.tokenize([text])[0] for text in ('RED Circle', 'red circle')))


@pytest.mark.parametrize(
    'frozen, training, rows', [(False, False, 3), (True, True, 3), (True, False, 3), (False, True, 6)]
)
def test_equal_expressions_are_encoded_once_unless_each_has_its_own_dropout(frozen, training, rows):
    repeated = [EXPRESSIONS[i] for i in (0, 1, 0, 2, 2, 0)]
    model = encoder(frozen=frozen)
    alone = [model([text]) for text in repeated]
    seen = []
    model.model.register_forward_hook(
        lambda module, args, kwargs, out: seen.append(len(kwargs['input_ids'])), with_kwargs=True
    )
    features = model.train(training)(repeated)
    assert seen == [rows]
    for i, expected in enumerate(alone):
        for found, wanted in zip(features, expected):
            assert found.dtype == wanted.dtype and torch.allclose(found[i].float(), wanted[0].float(), atol=1e-5)


def test_the_mean_leaves_padding_out():
    model = encoder(sentence='mean')
    features = model(EXPRESSIONS)
    for tokens, sentence, padding in zip(*features):
        assert torch.allclose(sentence, tokens[~padding].mean(0), atol=1e-6)


def test_an_expression_does_not_depend_on_its_batch():
    model = encoder()
    together = model(EXPRESSIONS)
    for i, expression in enumerate(EXPRESSIONS):
        alone = model([expression])
        assert torch.allclose(
            together.tokens[i][~together.padding_mask[i]], alone.tokens[0][~alone.padding_mask[0]], atol=1e-5
        )


def test_encode_is_forward_without_the_tokenizer():
    model = encoder()
    ids = torch.tensor([[2, 44, 15, 3, 0, 0, 0, 0]])
    features = model.encode(ids, (ids != 0).long())
    assert features.padding_mask.sum() == 4 and features.tokens.shape == (1, NUM_TOKENS, TEXT_DIM)


@pytest.mark.parametrize('frozen', [True, False])
def test_frozen_means_no_gradient_and_no_dropout(frozen):
    config = text_encoder_config()['model'] | dict(hidden_dropout_prob=0.5)
    torch.manual_seed(0)
    model = MODELS.build(text_encoder_config(model=config, frozen=frozen))  # training mode, never told so
    for _ in range(2):
        first, second = model(EXPRESSIONS), model(EXPRESSIONS)
        assert torch.equal(first.tokens, second.tokens) == frozen
        assert first.tokens.requires_grad == (not frozen)
        assert {p.requires_grad for p in model.parameters()} == {not frozen}
        model.train()


def test_every_parameter_has_a_gradient():
    """The pooler, which nothing reads, would make DDP wait."""
    model = encoder()
    model(EXPRESSIONS).tokens.square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_init_weights_of_the_whole_keeps_loaded_weights(folder):
    model = tiny_model(text_encoder=text_encoder_config(model=folder, tokenizer=None))
    before = model.text_encoder(EXPRESSIONS).tokens
    model.init_weights()
    assert torch.equal(model.text_encoder(EXPRESSIONS).tokens, before)
    stored = BertModel.from_pretrained(folder).state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in model.text_encoder.model.state_dict().items())


def test_init_cfg_is_followed(tmp_path):
    donor = encoder()
    torch.save(donor.state_dict(), tmp_path / 'text.pth')
    torch.manual_seed(9)
    model = MODELS.build(
        text_encoder_config(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'text.pth')))
    ).eval()
    assert not torch.equal(model(EXPRESSIONS).tokens, donor(EXPRESSIONS).tokens)
    model.init_weights()
    assert torch.equal(model(EXPRESSIONS).tokens, donor(EXPRESSIONS).tokens)


@pytest.mark.parametrize('name', ['no-such-owner/no-such-bert', 'no/such/folder', './nowhere'])
@pytest.mark.parametrize('what', ['model', 'tokenizer'])
def test_a_name_that_is_nowhere_is_one_sentence(offline, what, name):
    with pytest.raises(ValueError, match=f"there is no text {what} '{name}'") as error:
        MODELS.build(text_encoder_config(**{what: name}))
    assert '\n' not in str(error.value) and error.value.__cause__ is None and 'Give a folder' in str(error.value)


def test_a_folder_of_something_else_is_one_sentence(offline, tmp_path):
    with pytest.raises(ValueError, match='there is no text model'):
        MODELS.build(text_encoder_config(model=str(tmp_path)))


def test_a_model_of_its_own_configuration_is_given_a_tokenizer():
    with pytest.raises(ValueError, match="tokenizer='NAME or FOLDER'"):
        encoder(tokenizer=None)


@pytest.mark.parametrize(
    'model, message',
    [
        (dict(hidden_size=8), "needs a model_type, such as 'bert'"),
        (dict(model_type='brt'), "knows no model_type 'brt'"),
        (dict(model_type='bert', hiden_size=8), 'has no hiden_size; did you mean hidden_size'),
    ],
)
def test_a_wrong_configuration_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        encoder(model=model)


def test_an_unknown_kind_of_sentence_is_refused():
    with pytest.raises(ValueError, match="must be 'cls' or 'mean', not 'max'"):
        encoder(sentence='max')
