"""What each of two processes evaluates and finds; started by torch.multiprocessing, which imports this module anew."""

import torch
from mmengine.dataset import DefaultSampler

from helpers.refer_samples import evaluate, rectangle, square, with_prediction
from mmuniqrnet.evaluation import ReferringMetric

SIZE = 7


def samples():
    """All but the last two are right, so that a lost or a doubled one shows."""
    answers = [(0, 0, 4, 4)] * (SIZE - 2) + [(6, 6, 8, 8)] * 2
    return [with_prediction(square(index), box, rectangle(box)) for index, box in enumerate(answers)]


# The indices that each rank evaluates; None is what DefaultSampler gives.
CASES = {
    'padded': None,
    # blocks, of which the duplicate is not the last of the interleaved results
    'blocks': ((0, 1, 2, 0), (3, 4, 5, 6)),
    'one rank idle': ((0, 1, 2, 3, 4, 5, 6), ()),
}


def run_rank(rank, folder):
    everything, done = samples(), {}
    for name, of_ranks in CASES.items():
        indices = list(DefaultSampler(everything, shuffle=False)) if of_ranks is None else of_ranks[rank]
        metric = ReferringMetric(collect_dir=f'{folder}/collect', outfile_prefix=f'{folder}/{name}')
        found = evaluate(metric, [everything[index] for index in indices], batch_size=3, size=SIZE)
        done[name] = (indices, found)
    torch.save(done, f'{folder}/rank{rank}.pt')
