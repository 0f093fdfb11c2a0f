import os

import pytest
import torch.distributed
import torch.multiprocessing
from helpers.refer_samples import evaluate, rectangle, square, with_prediction
from mmengine.dataset import DefaultSampler

from mmuniqrnet.evaluation import ReferringMetric

SIZE = 7


def samples():
    """All but the last two are right, so that a lost or a doubled one shows."""
    answers = [(0, 0, 4, 4)] * (SIZE - 2) + [(6, 6, 8, 8)] * 2
    return [with_prediction(square(index), box, rectangle(box)) for index, box in enumerate(answers)]


def run_rank(rank, folder, indices_of_ranks):
    os.environ['LOCAL_RANK'] = str(rank)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    everything = samples()
    indices = list(DefaultSampler(everything, shuffle=False)) if indices_of_ranks is None else indices_of_ranks[rank]
    metric = ReferringMetric(collect_dir=f'{folder}/collect', outfile_prefix=f'{folder}/results')
    found = evaluate(metric, [everything[index] for index in indices], batch_size=3, size=SIZE)
    torch.save((indices, found), f'{folder}/rank{rank}.pt')
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    'indices_of_ranks',
    [
        pytest.param(None, id='padded'),
        # blocks, of which the duplicate is not the last of the interleaved results
        pytest.param(((0, 1, 2, 0), (3, 4, 5, 6)), id='blocks'),
        pytest.param(((0, 1, 2, 3, 4, 5, 6), ()), id='one rank idle'),
    ],
)
def test_two_ranks_are_one(tmp_path, indices_of_ranks):
    torch.multiprocessing.spawn(run_rank, args=(str(tmp_path), indices_of_ranks), nprocs=2)
    (first, found), (second, told) = (torch.load(tmp_path / f'rank{rank}.pt', weights_only=False) for rank in (0, 1))
    assert set(first) | set(second) == set(range(SIZE))
    if indices_of_ranks is None:
        assert len(first) + len(second) == SIZE + 1  # padded
    expected = evaluate(ReferringMetric(), samples())
    assert found == told == expected
    assert found['toy/val/N'] == SIZE and found['toy/val/Acc@0.5'] == pytest.approx(500 / 7)
    assert len((tmp_path / 'results_toy_val.jsonl').read_text().splitlines()) == SIZE
