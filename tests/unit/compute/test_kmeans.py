"""K-means of several groups at once on a GPU."""

import pytest
import torch

from cmidd.compute.kmeans import LOOKS, nearest_in_each
from tests.support.pretended import pretended_device


@pytest.mark.parametrize("rounds", [5, 20, 100])
def test_a_gpu_takes_all_groups_together_waits_four_times_at_most_and_chooses_what_the_cpu_does(rounds):
    points = torch.randn(600, 16, generator=torch.Generator().manual_seed(0))
    groups = [torch.arange(first, 600, 3) for first in range(3)]

    def chosen(points):
        found = nearest_in_each(points, groups, 7, torch.Generator().manual_seed(1), rounds)
        return [own.tolist() for own in found]

    with pretended_device("cuda") as counts:
        there = points.to("cuda")
        counts.reset()
        on_gpu = chosen(there)
    assert on_gpu == chosen(points)
    assert 1 <= counts.syncs <= 1 + len(LOOKS) <= 4
