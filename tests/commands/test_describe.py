import json

import pytest
from helpers.made_scenes import coco_of
from helpers.tools import load_tool

from mmuniqrnet.cli import main

PEOPLE = [('person', (x, 100, x + 40, 200)) for x in (20, 330)]


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


@pytest.fixture
def coco(tmp_path):
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(coco_of(PEOPLE)))
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_file_and_the_report(coco, tmp_path, capsys):
    out = tmp_path / 'out.jsonl'
    assert run('describe', coco, out, '--per-object', 2, '--no-target', 0.4, '--seed', 5, '--split', 'train') == 0
    said = capsys.readouterr().out
    assert 'person' in said and f'{out}: {len(lines(out))} lines, ' in said
    targets = [line for line in lines(out) if 'no_target' not in line]
    assert [line['bbox'] for line in targets] == [[20, 100, 60, 200], [330, 100, 370, 200]]
    assert {line['split'] for line in lines(out)} == {'train'} and len(lines(out)) == 3
    assert 'exists already' in run('describe', coco, out)


def test_the_tool_is_the_command(coco, tmp_path):
    outs = [tmp_path / 'tool.jsonl', tmp_path / 'command.jsonl']
    assert load_tool('dataset_tools/describe').main([str(coco), str(outs[0]), '--kinds', 'place']) is None
    assert run('describe', coco, outs[1], '--kinds', 'place') == 0
    assert lines(outs[0]) == lines(outs[1])


def test_phrases_of_ones_own(coco, tmp_path):
    phrases, out = tmp_path / 'phrases.json', tmp_path / 'out.jsonl'
    phrases.write_text('{"person": ["the player"]}')
    assert 'no object is left' in run('describe', coco, out, '--phrases', phrases)
    assert run('describe', coco, out, '--phrases', phrases, '--ambiguous') == 0
    assert [line['expressions'] for line in lines(out)] == [['the player']] * 2


@pytest.mark.parametrize(
    'options, reason',
    [
        (['--fill-boxes'], '--fill-boxes has an effect with --kinds plural only'),
        (['--ambiguous'], '--ambiguous has an effect with --phrases only'),
        (['--phrases', 'a.json', '--kinds', 'place'], '--kinds has no effect with --phrases'),
        (['--annotated', 'cat'], 'there is no category cat'),
        (['--language', 'klingon'], 'there is no language "klingon"'),
        (['--annotated', 'dog'], 'no expression could be made; nothing is written'),
    ],
)
def test_what_has_no_effect_is_said(coco, tmp_path, options, reason):
    out = tmp_path / 'out.jsonl'
    assert reason in str(run('describe', coco, out, *options)) and not out.exists()
