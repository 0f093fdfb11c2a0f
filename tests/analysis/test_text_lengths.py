import pytest
from helpers.paths import ROOT
from helpers.tools import run_dataset_tool

from mmuniqrnet.analysis import text_lengths
from mmuniqrnet.datasets.refshapes import make_refshapes
from mmuniqrnet.models.text_encoder import TextEncoder, load_tokenizer


@pytest.fixture(scope='module')
def tokenizer():
    return load_tokenizer('mmuniqrnet:refshapes')


def test_lengths_by_hand(tokenizer):
    # every word of RefShapes is one token; [CLS] and [SEP] make two more
    texts = ['the red circle', 'red circle', 'the red circle left of the blue circle', '\u4e2d']
    found = text_lengths(texts, tokenizer)
    assert found.words.tolist() == [3, 2, 8, 1]
    assert found.tokens.tolist() == [5, 4, 10, 3]
    assert found.unknown.tolist() == [0, 0, 0, 1]
    assert [found.cut(limit) for limit in (3, 4, 5, 9, 10)] == [3, 2, 1, 1, 0]


def test_what_is_said_to_be_cut_is_cut_by_the_text_encoder(tokenizer):
    texts = ['red ' * n + 'circle' for n in (4, 5, 6, 7)]
    model = dict(model_type='bert', hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    encoder = TextEncoder(model=model, tokenizer='mmuniqrnet:refshapes', max_length=8)
    ids, _ = encoder.tokenize(texts)
    circle = tokenizer.convert_tokens_to_ids('circle')
    lost = [circle not in row for row in ids.tolist()]
    assert lost == [False, False, True, True] and text_lengths(texts, tokenizer).cut(8) == 2


def test_no_expressions(tokenizer):
    with pytest.raises(ValueError, match='no expressions'):
        text_lengths([], tokenizer)


def test_tool(tmp_path, capsys):
    folder = tmp_path / 'refshapes'
    info, _ = make_refshapes(str(folder), num_images=dict(val=2, testA=2), workers=1)
    config = ROOT / 'configs' / 'uniqrnet_swin-nano_refshapes.py'
    assert (
        run_dataset_tool(
            'stats',
            config,
            '--part',
            'test',
            '--limits',
            '4',
            '40',
            '--cfg-options',
            f'test_dataloader.dataset.data_root={folder}',
            'test_dataloader.dataset.split=[val,testA]',
        )
        == 0
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {line[0]: line for line in lines if line[0].startswith('refshapes/')}
    for split in ('val', 'testA'):
        assert int(rows[f'refshapes/{split}'][1]) == info['splits'][split]['expressions']
        assert rows[f'refshapes/{split}'][-2:] == ['0', '0.00']
    with pytest.raises(ValueError, match="no text tokenizer '/nowhere'"):
        run_dataset_tool('stats', config, '--tokenizer', '/nowhere')
