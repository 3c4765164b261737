"""Copies to the device in one piece."""

import torch

from cmidd.utils.transfer import normal_numbers, to_device
from tests.support.pretended import pretended_device

TENSORS = [
    torch.rand(3, 5),
    torch.arange(7),
    torch.tensor(True),
    torch.empty(0),
    torch.rand(2, 3).T,
    torch.tensor(2.5, dtype=torch.float64),
    torch.ones(3, dtype=torch.bfloat16),
]


def test_on_the_cpu_tensors_stay_what_they_are():
    assert all(one is other for one, other in zip(TENSORS, to_device(TENSORS, torch.device("cpu")), strict=True))


def test_tensors_of_any_kind_go_to_a_gpu_in_one_copy_that_is_not_waited_for():
    with pretended_device("cuda") as counts:
        there = to_device(TENSORS, torch.device("cuda"))
        assert {tensor.device.type for tensor in there} == {"cuda"}
        assert len({tensor.untyped_storage().data_ptr() for tensor in there}) == 1
        assert to_device([], torch.device("cuda")) == []
    assert counts.syncs == 0
    for one, other in zip(TENSORS, there, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert torch.equal(one, other)


def test_where_no_memory_can_be_pinned_each_is_copied():
    with pretended_device("mps"):
        there = to_device(TENSORS[:2], torch.device("mps"))
        assert {tensor.device.type for tensor in there} == {"mps"}
    assert all(torch.equal(one, other) for one, other in zip(TENSORS, there, strict=False))


def test_normal_numbers_are_drawn_on_a_cuda_device_by_the_seed_of_the_generator():
    def numbers(device):
        return normal_numbers((3, 5), torch.Generator().manual_seed(7), torch.device(device))

    expected = torch.randn(3, 5, generator=torch.Generator().manual_seed(7))
    assert torch.equal(numbers("cpu"), expected)
    with pretended_device("cuda") as counts:
        there = numbers("cuda")
        assert counts.syncs == 0
        assert there.is_cuda
        assert torch.equal(there.cpu(), expected)  # A real one draws others.
