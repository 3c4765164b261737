"""What is counted on paper is what is alive at once."""

import importlib.util

import torch

from cmidd.compute import passes
from cmidd.networks import blank_network
from tests.support.records import ROOT

spec = importlib.util.spec_from_file_location("memory_on_paper", ROOT / "tools" / "memory_on_paper.py")
paper = importlib.util.module_from_spec(spec)
spec.loader.exec_module(paper)


def test_what_is_gone_counts_no_more_and_a_view_counts_nothing():
    with paper.Peak() as peak:
        first = torch.empty(1000, device="meta")
        second = first + 1
        del first
        third = second.view(10, 100).T + 1
        assert peak.now == 8000
        del second
    assert third.shape == (100, 10)
    assert (peak.now, peak.most) == (4000, 8000)


def test_memory_of_a_graph_grows_until_a_part_is_full_and_then_by_the_images_alone():
    network = blank_network("convnet", (3, 32, 32), 10, width=8, depth=2).requires_grad_(False)
    most = {}
    for count in (325, 650, 1300, 2600):
        with paper.Peak() as peak:
            images = torch.empty(count, 3, 32, 32, device="meta", requires_grad=True)
            torch.autograd.grad(passes.embed_in_chunks(network, images).sum(), images)
        most[count] = peak.most - 3 * images.nbytes
    assert most[650] > 1.8 * most[325]
    assert most[2600] < 1.1 * most[650]
