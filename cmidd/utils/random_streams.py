"""Named random streams: every random draw of a run is a function of (seed, name, counters)."""

import hashlib

import torch


class Streams:
    """Makes explicit generators, one per name and counter, from one seed.

    ``streams("augment", 12)`` is the generator of iteration 12 of the stream ``augment``. It does not
    depend on what was drawn before or elsewhere: a run that resumes at iteration 12, or that has one
    more regulariser, draws the same numbers. The generators live on the CPU, so the draws are the same
    on every device (but for what :func:`cmidd.utils.transfer.normal_numbers` draws there).

    Attributes:
        attempt: another number gives other draws; those of :meth:`child` streams stay.
    """

    attempt = 0

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, name: str, *counters: int) -> torch.Generator:
        again = ("again", self.attempt) if self.attempt else ()
        return self._generator(name, *counters, *again)

    def _generator(self, name: str, *counters: object) -> torch.Generator:
        key = "/".join(map(str, (self.seed, name, *counters)))
        digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "big", signed=True))

    def child(self, name: str, *counters: int) -> "Streams":
        """Streams of their own for a part of the run, e.g. one per evaluated network."""
        return Streams(self._generator(name, *counters).initial_seed())
