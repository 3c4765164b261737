"""A machine without a GPU: what tests state holds on the CPU, and device=auto would take one.

No variable of the environment hides that of a Mac, so this is imported in every process of the tests.
"""

import functools

import torch

torch.backends.mps.is_available = functools.cache(lambda: False)  # Cached as torch's own is: torch._dynamo asks.
