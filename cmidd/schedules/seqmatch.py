"""SeqMatch, sequential subset matching (Du et al., NeurIPS 2023).

PDD's algorithm with few stages and many epochs. It trains a network through the earlier stages for every 50 iterations,
where ours come from a pool, and begins MTT's experts from new random weights in every stage; here as PDD does, which
goes on with the same ones.

Source: seqmatch-mtt/buffer.py:94-135, seqmatch-idc/condense_new.py:557-605.
"""

from cmidd.schedules.pdd import PDD


class SeqMatch(PDD):
    """The schedule: other values of ``stages``, ``warm_epochs`` and ``overrides``."""
