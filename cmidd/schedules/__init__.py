"""Which part of the synthetic set is trained when, by the name of their config file."""

from cmidd.schedules.base import Schedule, Whole
from cmidd.schedules.staged import Staged

__all__ = ["SCHEDULES", "Schedule", "Whole"]

# PDD and SeqMatch are one algorithm with other figures; what differs beyond that is in the docstring of Staged.
SCHEDULES: dict[str, type[Schedule]] = {"whole": Whole, "pdd": Staged, "seqmatch": Staged}
