"""Which words of an expression the model does not know, and where it is cut."""

import json
import warnings

import numpy as np
import pytest
from helpers.nano_model import nano_checkpoint, nano_config, scene
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mmuniqrnet.apis import UniQRNetInferencer, shipped_weights
from mmuniqrnet.apis.reading import ExpressionReader, words_of
from mmuniqrnet.checkpoints import read_checkpoint
from mmuniqrnet.checkpoints.file_io import write_checkpoint
from mmuniqrnet.datasets.refshapes.expressions import lexicon
from mmuniqrnet.models.text_encoder import load_tokenizer


class Encoder:
    """What a reader needs of a text encoder."""

    def __init__(self, tokenizer, max_length=16) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length


@pytest.fixture(scope='module')
def tokenizer():
    return load_tokenizer('mmuniqrnet:refshapes')


@pytest.mark.parametrize(
    'expression, unknown',
    [
        ('the red star', []),
        ('The RED Star!', []),
        ('the woman', ['woman']),
        ('Woman, woman (the WOMAN)', ['Woman', 'woman', 'WOMAN']),
        ('stars', ['stars']),  # another form of a word that is known
        ('red-star', []),
        ('red-flag', ['flag']),
        ('the stâr', []),  # the normaliser takes accents away
        ('the flâg', ['flâg']),
        ('3 stars', ['3', 'stars']),
        ('狗 red', ['狗']),
        ('red 😀, star😀', ['😀', 'star😀']),
        ('?! -', []),
    ],
)
def test_words_are_compared_as_the_tokenizer_normalises_them(tokenizer, expression, unknown):
    read = ExpressionReader(Encoder(tokenizer), 'the Red STAR')
    assert read(expression).unknown == unknown
    assert bool(read(expression).notes) == bool(unknown)


def test_without_a_list_only_what_has_no_token_is_reported(tokenizer):
    read = ExpressionReader(Encoder(tokenizer))
    assert read('the woman').unknown is None and read('the woman').notes == []
    assert read('a 狗, 😀').unknown == ['狗', '😀']


def test_a_vocabulary_of_words_reports_those_it_lacks():
    backend = Tokenizer(models.WordLevel({'[UNK]': 0, 'Red': 1, 'star': 2}, unk_token='[UNK]'))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token='[UNK]')
    assert ExpressionReader(Encoder(fast))('Red flag, star, 😀,').unknown == ['flag', '😀']
    # without a normaliser, case matters to the model, and so it does here
    assert ExpressionReader(Encoder(fast), 'Red star')('red star').unknown == ['red']
    backend.normalizer = normalizers.Lowercase()
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token='[UNK]')
    assert ExpressionReader(Encoder(fast), 'Red star')('STAR').unknown == []


def test_an_encoder_without_a_tokenizer_is_not_spoken_for():
    reading = ExpressionReader(object(), 'red star')('flag')
    assert (reading.unknown, reading.kept, reading.notes) == (None, None, [])


def test_what_is_kept_of_a_long_text(tokenizer):
    read = ExpressionReader(Encoder(tokenizer), 'red')
    assert read('red ' * 14).kept is None
    reading = read('red ' * 15)
    assert (reading.tokens, reading.kept, reading.notes) == (17, 'red ' * 13 + 'red', ['too long: its end is not read'])


def test_words_are_letters_digits_and_marks():
    assert words_of("the woman's no. 3, _left_-most") == ['the', 'woman', 's', 'no', '3', 'left', 'most']
    assert words_of('नीली कार') == ['नीली', 'कार'] and words_of(' ?!') == []


# In the answers ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def listed(tmp_path_factory) -> UniQRNetInferencer:
    """Weights that say their words and what they are for."""
    path = nano_checkpoint(tmp_path_factory.mktemp('listed') / 'nano.safetensors')
    checkpoint = read_checkpoint(path)
    meta = {key: value for key, value in checkpoint['meta'].items() if key != 'cfg'}
    meta |= dict(words='the red star', made_for='pictures of tests')
    write_checkpoint(dict(state_dict=checkpoint['state_dict'], meta=meta), path)
    return UniQRNetInferencer(weights=path, device='cpu', show_progress=False)


def test_answers_say_it_and_one_warning_does(listed, tmp_path):
    picture, _ = scene(0)
    with pytest.warns(UserWarning) as caught:
        found = listed(
            [picture] * 2, [['the red star', 'the Woman', ' '], ['flag', 'the Woman']], out_dir=tmp_path / 'out'
        )['predictions']
    assert [answer.get('unknown_words') for answer in found] == [[], ['Woman'], None, ['flag'], ['Woman']]
    (warning,) = (warning for warning in caught if warning.category is UserWarning)
    assert str(warning.message) == (
        'the model (made for pictures of tests) does not know “Woman”, “flag” (not in its training text); '
        'its answers to that are guesses.'
    )
    told = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert told['made_for'] == listed.made_for == 'pictures of tests'
    assert [answer.get('unknown_words') for answer in told['predictions']] == [[], ['Woman'], None, ['flag'], ['Woman']]
    with pytest.warns(UserWarning):
        (sample,) = listed(picture, 'flag', return_datasamples=True)['predictions']
    assert sample.unknown_words == ['flag']


def test_weights_without_a_list_claim_nothing(tmp_path):
    ask = UniQRNetInferencer(weights=nano_checkpoint(tmp_path / 'a.safetensors'), device='cpu', show_progress=False)
    assert ask.made_for is None and ask.words is None
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        (answer,) = ask(np.zeros((64, 64, 3), np.uint8), 'the woman')['predictions']
    assert answer['unknown_words'] is None


def test_the_shipped_weights_know_the_words_of_refshapes():
    ask = UniQRNetInferencer(weights='shapes', device='cpu', show_progress=False)
    assert ask.made_for == 'RefShapes: synthetic scenes of coloured shapes'
    assert {word.lower() for word in ask.words.split()} == set(lexicon())
    texts = [text for seed in range(10) for text in scene(seed)[1]]
    assert all(ask.read(text).unknown == [] for text in texts)
    assert ask.read('the flag on the left, a woman').unknown == ['flag', 'a', 'woman']
    assert read_checkpoint(shipped_weights('shapes'))['meta']['made_for'] == ask.made_for
    assert nano_config().model.text_encoder.tokenizer == ask.cfg.model.text_encoder.tokenizer
