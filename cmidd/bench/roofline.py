"""The least time a step can take on this machine: its operations at the measured rate of a large matrix product, or
its bytes at the measured bandwidth, whichever is more.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from cmidd.compute.devices import synchronise
from cmidd.compute.engine import Precision


@dataclass(frozen=True)
class Machine:
    """Measured: ``operations`` per second of a matrix product, ``bytes`` per second of a copy (read and written)."""

    operations: float
    bytes: float


def measure_machine(precision: Precision, device: torch.device, side: int = 2048, repeats: int = 12) -> Machine:
    """The rates of ``device`` now in a precision, the best of ``repeats``."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    source = torch.empty(2**26, device=device)
    target = torch.empty_like(source)
    with _products_in(precision):
        product = min(_seconds(lambda: a @ b, device) for _ in range(repeats + 1))
    copy = min(_seconds(lambda: target.copy_(source), device) for _ in range(repeats + 1))
    return Machine(2 * side**3 / product, 2 * source.nbytes / copy)


class Counter(TorchDispatchMode):
    """Counts the operations of convolutions and matrix products (two per multiply-add), and the bytes that these
    read and write; everything between them could be fused into them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.operations += count(*args, **(kwargs or {}), out_val=out)
            self.bytes += sum(leaf.nbytes for leaf in tree_leaves((args, out)) if isinstance(leaf, Tensor))
        return out


@contextlib.contextmanager
def _products_in(precision: Precision) -> Iterator[None]:
    """Matrix products in TF32 where convolutions have it: an engine leaves its own in float32, and so does torch."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - began
