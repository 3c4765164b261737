"""Programs that set torch for their own networks, and then ask cmidd for something."""

import contextlib

import torch


@contextlib.contextmanager
def set_by(setter, value, before):
    setter(value)
    try:
        yield
    finally:
        setter(before)


PROGRAMS = {
    "float64": lambda: set_by(torch.set_default_dtype, torch.float64, torch.float32),
    "a device": lambda: set_by(torch.set_default_device, "meta", None),
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu"),
}
