"""The language model for mmdet's detectors, against the attention masks that mmdet computes."""

import pytest
import torch
from helpers.composition_samples import grounding_dino, language_model
from helpers.tiny_model import text_encoder_config
from mmdet.models.language_models.bert import generate_masks_with_special_tokens_and_transfer_map
from mmdet.models.layers.transformer.utils import coordinate_to_encoding
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement

from mmuniqrnet.models import LanguageModel
from mmuniqrnet.models.gated_detectors import _fit_encoding, caption_of, check_language_model

CAPTIONS = ['the red circle . blue square . star .', 'green ring .', 'is it the left one ?']


def model(**changes) -> LanguageModel:
    torch.manual_seed(0)
    return MODELS.build(language_model(**changes)).eval()


def test_sub_sentences_are_those_of_mmdet():
    """mmdet gives masks and places to BERT at once; here each sub-sentence is a text of its own."""
    language = model()
    ids, mask = language.tokenize(CAPTIONS)
    attended, places = generate_masks_with_special_tokens_and_transfer_map(dict(input_ids=ids), language.separators)
    out = language(CAPTIONS)
    assert torch.equal(out['masks'], attended) and torch.equal(out['position_ids'], places)
    assert torch.equal(out['text_token_mask'], mask.bool())
    allowed = torch.zeros(attended.shape).masked_fill(~attended, torch.finfo().min)[:, None]
    bert = language.text_encoder.model
    expected = bert(input_ids=ids, attention_mask=allowed, position_ids=places).last_hidden_state
    assert torch.allclose(out['embedded'][mask > 0], expected[mask > 0], atol=1e-5)
    assert not out['embedded'][mask == 0].any()


def test_a_sub_sentence_does_not_see_the_others_but_the_sentence_does():
    language = model()
    one, other = 'the red circle . blue square .', 'the red circle . green ring .'
    tokens = language([one, other])['embedded']
    assert torch.allclose(tokens[0, :5], tokens[1, :5], atol=1e-6)
    sentence = language.sentence([one, other])
    assert not torch.allclose(sentence[0], sentence[1], atol=1e-3)
    assert torch.equal(sentence, language.text_encoder([one, other]).sentence)


def test_without_sub_sentences_all_tokens_see_each_other_and_are_padded_to_the_maximum():
    language = model(sub_sentences=False, pad_to_max=True)
    out = language(CAPTIONS)
    ids, mask = language.tokenize(CAPTIONS)
    assert ids.shape == (3, 16) and torch.equal(out['masks'], mask)
    expected = language.text_encoder.encode(ids, mask).tokens
    assert torch.equal(out['embedded'][mask > 0], expected[mask > 0])


def test_names_of_weights_are_mmdets():
    names = {name for name, _ in model().named_parameters()}
    assert 'language_backbone.body.model.encoder.layer.0.attention.self.query.weight' in names
    assert all(name.startswith('language_backbone.body.model.') for name in names)


def test_init_cfg_of_the_text_encoder_has_an_effect():
    constant = dict(type='Constant', val=0.5, layer='Linear')
    encoder = text_encoder_config(type='mmuniqrnet.TextEncoder', max_length=16, init_cfg=constant)
    language = model(text_encoder=encoder)
    language.init_weights()
    weight = dict(language.named_parameters())['language_backbone.body.model.encoder.layer.0.output.dense.weight']
    assert (weight == 0.5).all()


@pytest.mark.parametrize('ask', [LanguageModel.forward, LanguageModel.sentence])
def test_a_caption_that_would_be_cut_is_refused(ask):
    long = ' and '.join(['the red circle'] * 4)  # "and" is three tokens
    with pytest.raises(ValueError, match=r"'the red circle and the red circle and...' has 23 tokens.*is 16; raise it"):
        ask(model(), [long])


def test_a_separator_that_the_tokenizer_does_not_have_is_refused():
    with pytest.raises(ValueError, match="no token '¿'; set separators"):
        model(separators=('[CLS]', '[SEP]', '¿'))


def test_detectors_refuse_a_language_model_that_does_not_fit():
    init_default_scope('mmdet')
    cfg = grounding_dino()
    cfg.language_model.sub_sentences = False
    with pytest.raises(ValueError, match='GatedGroundingDINO: set language_model.sub_sentences=True'):
        MODELS.build(cfg)
    detector = torch.nn.Module()
    detector.language_model = MODELS.build(text_encoder_config(type='mmuniqrnet.TextEncoder'))
    with pytest.raises(ValueError, match='is a TextEncoder, which gives no feature of the sentence'):
        check_language_model(detector, sub_sentences=True)


def test_captions_are_texts_or_names():
    assert caption_of(BaseDataElement(metainfo=dict(text='the red one'))) == 'the red one'
    assert caption_of(BaseDataElement(metainfo=dict(text=('cat', 'dog')))) == 'cat. dog'
    with pytest.raises(ValueError, match="needs its expression as metainfo 'text'"):
        caption_of(BaseDataElement())


def test_encoding_of_reference_points_is_that_of_grounding_dino():
    """onedl-mmdetection computes 256 frequencies per coordinate, where Grounding DINO's first layer takes 128."""
    head = torch.nn.Module()
    head.layers = [torch.nn.Linear(512, 1)]
    points = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    wide, right = (coordinate_to_encoding(points, num_feats=n) for n in (256, 128))
    assert torch.equal(_fit_encoding(head, (wide,))[0], right)
    assert torch.equal(_fit_encoding(head, (right,))[0], right)
