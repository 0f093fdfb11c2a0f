import pytest
import torch
from helpers.ranks import CASES, SIZE, run_rank, samples
from helpers.refer_samples import evaluate
from helpers.two_ranks import run_two_ranks

from mmuniqrnet.evaluation import ReferringMetric


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    """The folder of the results files, and what each of two processes evaluated and found, by case."""
    folder = tmp_path_factory.mktemp('ranks')
    run_two_ranks(run_rank, folder)
    return folder, [torch.load(folder / f'rank{rank}.pt', weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize('name', CASES)
def test_two_ranks_are_one(ranks, name):
    folder, both = ranks
    (first, found), (second, told) = (done[name] for done in both)
    assert set(first) | set(second) == set(range(SIZE))
    if CASES[name] is None:
        assert len(first) + len(second) == SIZE + 1  # padded
    expected = evaluate(ReferringMetric(), samples())
    assert found == told == expected
    assert found['toy/val/N'] == SIZE and found['toy/val/Acc@0.5'] == pytest.approx(500 / 7)
    assert len((folder / f'{name}_toy_val.jsonl').read_text().splitlines()) == SIZE
