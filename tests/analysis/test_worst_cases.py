import cv2
import numpy as np
import pytest
from helpers.refer_samples import evaluate, rectangle, square, with_prediction
from helpers.tools import end_of_tool

from mmuniqrnet.analysis.worst_cases import draw_case, rank_worst, write_worst_cases
from mmuniqrnet.evaluation import ReferringMetric, read_results
from mmuniqrnet.visualization.answer_picture import PREDICTION_RGB, TRUTH_RGB

SIDE = 120
TRUTH, PRED = (10, 10, 60, 60), (50, 20, 110, 100)
GREY = 100


@pytest.fixture
def results(tmp_path):
    """Three expressions of two images; of mask IoU 0.2 to 1, box IoU in the other order."""
    for name in ('a.png', 'b.png'):
        cv2.imwrite(str(tmp_path / name), np.full((SIDE, SIDE, 3), GREY, np.uint8))
    fields = dict(side=SIDE, truth=TRUTH)
    samples = [
        with_prediction(
            square(0, img_path=str(tmp_path / 'a.png'), text='the teddy’s left foot', **fields),
            PRED,
            rectangle(TRUTH, SIDE),
        ),
        with_prediction(
            square(1, img_path=str(tmp_path / 'a.png'), **fields), TRUTH, rectangle((10, 10, 20, 60), SIDE)
        ),
        with_prediction(
            square(2, img_path=str(tmp_path / 'b.png'), **fields), (10, 10, 60, 40), rectangle((10, 10, 60, 35), SIDE)
        ),
    ]
    evaluate(ReferringMetric(outfile_prefix=str(tmp_path / 'r')), samples)
    return tmp_path / 'r_toy_val.jsonl'


def test_ranks_the_lowest_first(results):
    records = read_results(results)
    assert [record['sent_id'] for record in rank_worst(records, 'mask_iou', 2)] == [1, 2]
    assert [record['sent_id'] for record in rank_worst(records, 'box_iou', 5)] == [0, 2, 1]
    with pytest.raises(ValueError, match='top must be at least 1'):
        rank_worst(records, 'mask_iou', 0)
    with pytest.raises(ValueError, match='no expression of these results has a mask_iou'):
        rank_worst([dict(record, mask_iou=None) for record in records], 'mask_iou', 1)


def test_boxes_and_masks_lie_where_they_are(results):
    record = read_results(results)[0]
    image = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    picture = draw_case(record, image)
    assert (image == GREY).all()  # the caller's is untouched
    drawn = picture[-SIDE:]
    for (x1, y1, x2, y2), colour in ((TRUTH, TRUTH_RGB), (PRED, PREDICTION_RGB)):
        assert (drawn[(y1 + y2) // 2, x2] == colour).all() and (drawn[y2, (x1 + x2) // 2] == colour).all()
    changed = (drawn != GREY).any(-1)
    assert changed[15:55, 15:45].all()  # the mask's tint
    assert not changed[70:90, 60:100].any()  # inside the predicted box, which is an outline
    assert not changed[:7].any() and not changed[:, :7].any() and not changed[105:].any()
    caption = picture[:-SIDE]
    assert caption.shape[1] == SIDE and (caption == 255).any() and (caption < 128).any()


def test_masks_of_truth_and_prediction_have_their_own_tints(results):
    drawn = draw_case(read_results(results)[2], np.full((SIDE, SIDE, 3), GREY, np.uint8))[-SIDE:].astype(int)
    both, truth_only = drawn[22, 30], drawn[50, 30]
    np.testing.assert_allclose(truth_only, 0.6 * GREY + 0.4 * np.array(TRUTH_RGB), atol=1)
    np.testing.assert_allclose(
        both, 0.6 * (0.6 * GREY + 0.4 * np.array(TRUTH_RGB)) + 0.4 * np.array(PREDICTION_RGB), atol=2
    )


def test_writes_pictures_and_index(results, tmp_path):
    paths = write_worst_cases(results, tmp_path / 'out', top=2)
    assert [path.name for path in paths] == ['worst_001.png', 'worst_002.png']
    record = read_results(results)[1]
    np.testing.assert_array_equal(
        cv2.imread(str(paths[0]))[..., ::-1], draw_case(record, np.full((SIDE, SIDE, 3), GREY, np.uint8))
    )
    index = (tmp_path / 'out' / 'worst_cases.md').read_text(encoding='utf-8').splitlines()
    assert '1. [worst_001.png](worst_001.png): mask IoU 20.0, box IoU 100.0; "square 1"' in index[2]

    paths = write_worst_cases(results, tmp_path / 'out', top=1, by='box_iou')  # an earlier run is replaced
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['worst_001.png', 'worst_cases.md']
    assert '"the teddy’s left foot"' in (tmp_path / 'out' / 'worst_cases.md').read_text(encoding='utf-8')


def test_a_folder_of_the_users_is_not_touched(results, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'worst_001.png').write_text('my own')
    with pytest.raises(FileExistsError, match='is not empty'):
        write_worst_cases(results, tmp_path / 'out')
    assert (tmp_path / 'out' / 'worst_001.png').read_text() == 'my own'


def test_an_image_of_another_size_is_named(results, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r'a.png is \[5, 6\] \(height, width\), but \[120, 120\] was evaluated'):
        write_worst_cases(results, tmp_path / 'out')


def test_tool_says_one_sentence(results, tmp_path, capsys):
    name = 'analysis_tools/worst_cases'
    assert end_of_tool(name, results, '--out', tmp_path / 'out', '--top', '2') is None
    assert '2 pictures' in capsys.readouterr().out
    assert (tmp_path / 'out' / 'worst_002.png').is_file()

    (tmp_path / 'a.png').unlink()
    said = end_of_tool(name, results, '--out', tmp_path / 'other')
    assert said.startswith('error: ') and '\n' not in said and 'a.png of expression 1 not found' in said
    assert not (tmp_path / 'other').exists()
