import pytest
import torch
import torch.nn.functional as F

from mmuniqrnet.models.heads.connected import connected


def flood(seed: int, region: torch.Tensor) -> torch.Tensor:
    """The connected part, by growth of one cell a step until nothing changes."""
    reached = torch.zeros(region.numel())
    reached[seed] = 1
    reached = reached.view(region.shape) * region
    while True:
        grown = F.max_pool2d(reached[None, None], 3, stride=1, padding=1)[0, 0] * region
        if torch.equal(grown, reached):
            return reached > 0
        reached = grown


def test_it_is_what_a_flood_reaches():
    region = torch.tensor([[1, 1, 0, 0, 1], [0, 0, 1, 0, 1], [0, 0, 1, 0, 1]]) > 0
    expected = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0]]) > 0
    assert torch.equal(connected(torch.tensor([0]), region[None])[0], expected)
    torch.manual_seed(0)
    regions = torch.rand(60, 9, 13) > 0.4
    seeds = torch.randint(9 * 13, (60,))
    for reached, seed, region in zip(connected(seeds, regions, passes=20), seeds, regions):
        assert torch.equal(reached, flood(seed, region))


def test_no_line_continues_beyond_the_edge():
    """A diagonal, a row or a column that leaves the map on one side does not enter it on the other."""
    for height, width in ((6, 6), (5, 9), (9, 5)):
        for place in range(height * width):
            region = torch.zeros(height * width, dtype=torch.bool)
            for other in range(place + 1, height * width):
                pair = region.clone()
                pair[[place, other]] = True
                pair = pair.view(height, width)
                assert torch.equal(connected(torch.tensor([place]), pair[None])[0], flood(place, pair))


@pytest.mark.parametrize('size', [16, 160])
def test_few_passes_reach_winding_objects(size):
    ring = torch.zeros(size, size, dtype=torch.bool)
    ring[2:-2, 2:-2] = True
    ring[4:-4, 4:-4] = False
    zigzag = (torch.arange(size) % (size // 2) - size // 4).abs() == torch.arange(size)[:, None] - size // 2
    for region in (ring, zigzag):
        places = region.flatten().nonzero()[:, 0]
        expected = flood(places[0], region)
        for seed in places[:: max(size // 4, 1)]:
            assert torch.equal(connected(seed[None], region[None])[0], expected)
    too_few = connected(ring.flatten().nonzero()[0], ring[None], passes=0)[0]
    assert too_few.sum() == 1 and not (too_few & ~ring).any()
