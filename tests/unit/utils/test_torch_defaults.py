"""Whatever a program has set in torch for its own networks, inside a block it is as in a new process."""

import contextlib

import pytest
import torch

from cmidd.utils.torch_defaults import torch_defaults
from tests.support.torch_programs import PROGRAMS


def state():
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
    )


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("ended_by", [None, ValueError])
def test_inside_it_is_as_in_a_new_process_and_then_as_before(program, ended_by):
    new = state()
    with PROGRAMS[program]():
        own = state()
        assert own != new
        with pytest.raises(ended_by) if ended_by else contextlib.nullcontext(), torch_defaults():
            inside, made = state(), torch.ones(2, 2, requires_grad=True)
            product = made @ made
            if ended_by:
                raise ended_by
        assert state() == own
    assert state() == inside == new
    assert (product.dtype, product.device.type, product.requires_grad) == (torch.float32, "cpu", True)
