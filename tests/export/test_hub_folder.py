"""The folder that --push uploads: written from the shipped weights, read back and asked."""

import json

import pytest
from helpers.paths import ROOT
from helpers.tools import end_of_tool, load_tool
from huggingface_hub import ModelCard

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.apis.shipped import shipped_weights

publish = load_tool('publish')
VALUES = {'Acc@0.5': 87.99, 'oIoU': 73.01, 'mIoU': 76.38}
RESULTS = dict(
    written_by='mmuniqrnet.evaluation.report/1',
    facts={},
    rows=[{'set': 'refshapes/val', 'N': 10, 'Acc@0.5': 87.99, 'oIoU': 73.011, 'mIoU': 76.375}],
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('hub')
    (root / 'results.json').write_text(json.dumps(RESULTS))
    options = ['--results', str(root / 'results.json'), '--made-for', 'coloured shapes', '--command', 'train it']
    push = ['--push', 'org/nano', '--license', 'apache-2.0', '--dry-run']
    publish.main([str(shipped_weights('shapes')), str(root / 'nano'), *push, *options])
    return root / 'nano'


def test_it_answers_as_the_weights_it_was_made_of(folder):
    assert {path.name for path in folder.iterdir()} == {'README.md', 'config.json', 'model.safetensors'}
    picture = str(next((ROOT / 'tests' / 'data' / 'refer_mini').rglob('*.jpg')))
    first, second = (
        UniQRNetInferencer(weights=weights, show_progress=False)(picture, 'red circle')['predictions'][0]
        for weights in ('shapes', folder / 'model.safetensors')
    )
    assert first == second | dict(model='shapes')


def test_the_card_says_what_is_known_and_the_hub_reads_its_figures(folder):
    card = ModelCard.load(folder / 'README.md')
    assert (card.data.license, card.data.library_name) == ('apache-2.0', 'mmuniqrnet')
    found = {(one.dataset_name, one.metric_type): one.metric_value for one in card.data.eval_results}
    assert found == {
        ('refshapes/val', 'Acc@0.5'): 87.99,
        ('refshapes/val', 'oIoU'): 73.01,
        ('refshapes/val', 'mIoU'): 76.38,
    }
    for text in (
        'hf://org/nano',
        'coloured shapes',
        '`train it`',
        '| refshapes/val',
        'seed: 0',
        'default_scope',
    ):
        assert text in card.text, text
    assert json.loads((folder / 'config.json').read_text())['library_name'] == 'mmuniqrnet'


def test_of_published_weights_what_is_not_given_again_is_kept(tmp_path):
    push = ['--push', 'org/nano', '--license', 'mit', '--dry-run']
    publish.main([str(shipped_weights('shapes')), str(tmp_path / 'out'), *push])
    card = ModelCard.load(tmp_path / 'out' / 'README.md')
    found = {one.dataset_name: one.metric_value for one in card.data.eval_results if one.metric_type == 'mIoU'}
    assert set(found) == {'refshapes/val', 'refshapes/testA', 'refshapes/testB'} and min(found.values()) > 70


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['--push', 'org/nano'], '--push: say under which licence'),
        (['--push', 'nano', '--license', 'mit'], 'is not an address of the hub'),
        (['--push', 'org/nano/file', '--license', 'mit'], '--push org/nano/file: give ORG/NAME'),
        (['--license', 'mit'], '--license is for --push'),
        (['--dry-run'], '--dry-run is for --push'),
        ([], 'give OUT.safetensors'),
        (['--push', 'org/nano', '--license', 'mit', '--overwrite'], '--overwrite is for OUT.safetensors'),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments, says):
    assert says in end_of_tool('publish', str(shipped_weights('shapes')), *arguments)


def test_nothing_is_overwritten(folder):
    push = ['--push', 'org/nano', '--license', 'mit', '--dry-run']
    assert 'exists and is not an empty folder' in end_of_tool(
        'publish', str(shipped_weights('shapes')), str(folder), *push
    )
