import json

import pytest
from helpers.refer_samples import evaluate, rectangle, square, with_prediction

from mmuniqrnet.evaluation import ReferringMetric, table_from_metrics, to_json, to_markdown, to_text, write_report

METRICS = {
    'refcoco/val/N': 10834,
    'refcoco/val/N_box': 10834,
    'refcoco/val/N_mask': 10000,
    'refcoco/val/Acc@0.5': 84.012,
    'refcoco/val/mIoU': 75.625,
    'refcoco/val/box_mIoU': 70.0,
    'refcoco/val/box_mask_IoU': 60.0,
    'refcoco/testA/N': 5657,
    'refcoco/testA/Acc@0.5': 85.849,
    'refcoco/val/cris_mIoU': 70.5,
    'refcoco/val/cris_val_mIoU': 71.5,
    'coco/bbox_mAP': 0.4,
}


def cells(table, separator=None):
    return [[cell.strip() for cell in line.strip('|').split(separator)] for line in table.splitlines()]


def test_one_row_a_set_and_protocol():
    rows = {row['set']: row for row in table_from_metrics(METRICS)}
    assert list(rows) == ['refcoco/val', 'refcoco/testA', 'refcoco/val (cris)', 'refcoco/val (cris_val)', 'coco']
    assert rows['refcoco/val'] == {
        'set': 'refcoco/val',
        'N': 10834,
        'N_mask': 10000,
        'Acc@0.5': 84.012,
        'mIoU': 75.625,
        'box_mIoU': 70.0,
        'box_mask_IoU': 60.0,
    }
    assert rows['refcoco/val (cris)']['mIoU'] == 70.5 and rows['refcoco/val (cris_val)']['mIoU'] == 71.5
    assert rows['coco'] == {'set': 'coco', 'bbox_mAP': 0.4}


def test_text_and_markdown_have_the_same_cells():
    metrics = {key: value for key, value in METRICS.items() if 'cris' not in key and 'coco/b' not in key}
    rows = table_from_metrics(metrics, extra={'text-blind': {'refcoco/val': 31.5}})
    head = ['set', 'N', 'Acc@0.5', 'box_mIoU', 'mIoU', 'box_mask_IoU', 'N_mask', 'text-blind']
    val = ['refcoco/val', '10834', '84.01', '70.00', '75.62', '60.00', '10000', '31.50']
    test_a = ['refcoco/testA', '5657', '85.85', '-', '-', '-', '-', '-']
    assert cells(to_text(rows)) == [head, val, test_a]
    markdown = cells(to_markdown(rows), '|')
    assert markdown[0] == head and markdown[2:] == [val, test_a]
    assert all(set(rule) <= set('-:') for rule in markdown[1])
    assert len({len(line) for line in to_markdown(rows).splitlines()}) == 1


def test_extra_column_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="'blind' has values for \\['refcoco/tset'\\]"):
        table_from_metrics(METRICS, extra={'blind': {'refcoco/tset': 1.0}})
    with pytest.raises(ValueError, match="'mIoU' is already"):
        table_from_metrics(METRICS, extra={'mIoU': {'refcoco/val': 1.0}})


def test_pipes_do_not_break_markdown():
    line = to_markdown(table_from_metrics(METRICS, extra={'a|b': {'refcoco/val': 'x|y'}})).splitlines()
    assert 'a\\|b' in line[0] and 'x\\|y' in line[2]


def test_json_is_not_rounded():
    rows = table_from_metrics(METRICS)
    assert json.loads(to_json(rows, dict(config='a.py')))['rows'] == rows
    assert json.loads(to_json(rows, dict(config='a.py')))['facts'] == {'config': 'a.py'}


def test_report_of_real_metrics(tmp_path):
    metrics = evaluate(ReferringMetric(), [with_prediction(square(0), (0, 0, 4, 4), rectangle((0, 0, 4, 2)))])
    for _ in range(2):  # an own report is replaced
        json_path, md_path = write_report(tmp_path / 'new', metrics, facts=dict(checkpoint='epoch_1.pth'))
    (row,) = json.loads(json_path.read_text())['rows']
    assert {f'{row["set"]}/{name}': value for name, value in row.items() if name != 'set'} == {
        key: value for key, value in metrics.items() if not key.endswith(('N_box', 'N_mask'))
    }
    text = md_path.read_text()
    assert '- checkpoint: epoch_1.pth' in text and '|' in text and '50.00' in text


@pytest.mark.parametrize('name', ['results.json', 'results.md'])
def test_an_empty_file_of_an_interrupted_run_is_replaced(tmp_path, name):
    (tmp_path / name).touch()
    json_path, md_path = write_report(tmp_path, METRICS)
    assert json.loads(json_path.read_text())['rows'] and '84.01' in md_path.read_text()


def test_a_report_that_cannot_be_written_leaves_the_earlier_one(tmp_path):
    write_report(tmp_path, METRICS)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    with pytest.raises(UnicodeEncodeError):
        write_report(tmp_path, METRICS, facts=dict(config='caf\udce9.py'))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize('name', ['results.json', 'results.md'])
def test_a_file_of_the_users_is_not_replaced(tmp_path, name):
    (tmp_path / name).write_text('my own')
    with pytest.raises(FileExistsError, match=f'{name} exists'):
        write_report(tmp_path, METRICS)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == 'my own'
