"""The generations of NVIDIA's GPUs, by compute capability: what an older one lacks, and which a torch has code for."""

import re

import torch

TF32_FROM = (8, 0)  # Ampere
TRITON_FROM = (7, 0)  # Volta; torch's compiler refuses those before


def capability(device: torch.device) -> tuple[int, int] | None:
    """The compute capability of an NVIDIA GPU; None of anything else, and where there is none."""
    if device.type != "cuda" or torch.version.hip or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_capability(device)


def has_tf32(device: torch.device) -> bool:
    """Whether convolutions can be computed in TF32 there."""
    return device.type == "cuda" and (capability(device) or TF32_FROM) >= TF32_FROM


def lacking_for_triton(device: torch.device) -> str | None:
    """What torch.compile lacks there, as :func:`cmidd.compute.compilers.lacking` says it; None where nothing."""
    own = capability(device)
    if own is None or own >= TRITON_FROM:
        return None
    return f"GPU that Triton compiles for (of compute capability {_said(TRITON_FROM)} at least, not {_said(own)})"


def lacking_code(device: torch.device) -> str | None:
    """Why this torch computes nothing on a GPU, with the way out: it was built without code for it. None: it does."""
    own = capability(device)
    if own is None:
        return None
    codes = [_code(name) for name in torch.cuda.get_arch_list()]
    # Machine code is of one generation, from its version on; the other kind is compiled on any later GPU.
    if not codes or any(built <= own and (built[0] == own[0] or kind == "compute") for kind, built in codes):
        return None
    versions = [built for _, built in codes]
    earlier = own < min(versions)
    return (
        f"this torch ({torch.__version__}) has no code for {torch.cuda.get_device_name(device)}, of compute capability "
        f"{_said(own)} (for {_said(min(versions))} to {_said(max(versions))}); install one that is built for "
        f"{'an earlier' if earlier else 'a later'} CUDA (docs/index.md, Which torch)"
    )


def _code(name: str) -> tuple[str, tuple[int, int]]:
    """The kind and version of ``sm_90a`` or ``compute_120``, as torch lists what it is built for."""
    kind, _, number = name.partition("_")
    return kind, divmod(int(re.sub(r"\D", "", number)), 10)


def _said(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
