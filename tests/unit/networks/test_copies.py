"""Networks are copies of one structure, each by itself."""

import copy

import pytest
import torch
from torch import nn

from cmidd.networks import NETWORKS, blank_network, build_network
from cmidd.networks import _copies as copies
from cmidd.networks._copies import empty_copy


def described(network):
    state = {name: (tensor.shape, tensor.dtype, tensor.device) for name, tensor in network.state_dict().items()}
    return repr(network), state, [parameter.requires_grad for parameter in network.parameters()]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_copy_is_what_deepcopy_and_to_empty_give_and_our_networks_need_no_deepcopy(name, monkeypatch):
    blank = blank_network(name, (3, 32, 32), 10)
    expected = described(copy.deepcopy(blank).to_empty(device="cpu"))
    monkeypatch.setattr(copies.copy, "deepcopy", None)
    assert described(empty_copy(blank)) == expected


def test_what_is_done_to_one_network_is_not_done_to_the_next():
    first, second = (build_network("resnet18", (3, 16, 16), 4, torch.Generator().manual_seed(0)) for _ in range(2))
    first.register_forward_hook(lambda *_: 1 / 0)
    first.eval().requires_grad_(False)
    first.classifier.weight.zero_()
    first.classifier.bias = None
    assert second.training
    assert all(parameter.requires_grad for parameter in second.parameters())
    assert second.classifier.weight.any()
    assert second.classifier.bias is not None
    assert second(torch.rand(2, 3, 16, 16)).shape == (2, 4)


class Tied(nn.Module):
    """Two modules and two names of one parameter, and one of its modules under a name of its own."""

    def __init__(self, listed):
        super().__init__()
        self.one = nn.Linear(3, 3, device="meta")
        self.one.bias.requires_grad = False
        self.other = self.one
        self.weight = self.one.weight
        self.also = [self.one] if listed else []


@pytest.mark.parametrize("listed", [False, True])
def test_what_a_network_has_twice_its_copy_has_twice(listed):
    copied = empty_copy(Tied(listed))
    assert copied.one is copied.other
    assert not copied.one.weight.is_meta
    assert not copied.one.bias.requires_grad
    if listed:  # What only deepcopy copies, which to_empty then fills name by name.
        assert copied.also[0] is copied.one
    else:
        assert copied.weight is copied.one.weight
