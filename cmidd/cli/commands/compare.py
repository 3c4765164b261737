"""Compare two sets, runs or cells: is one better than the other, or is the difference inside the noise?

The spread between sets and the spread between networks are given apart, with Welch's test over sets if both sides have
several.

Examples:
    cmidd compare a=results/cifar10/dm/ipc10/cmi0 b=results/cifar10/dm/ipc10/cmi8000 # all seeds of both
    cmidd compare a=dm:cifar10:10:0 b=dm:cifar10:10:8000 results_root=results/evidence
    cmidd compare a=<run> b=<another run>
    cmidd compare a=<set>.evaluation1.json b=<another>.evaluation1.json network=convnet
"""

import logging
from typing import Any

from cmidd.analysis.compared import compared, read_side
from cmidd.analysis.settings import CompareSettings, read_standalone

log = logging.getLogger(__name__)


def main(config: dict[str, Any]) -> None:
    """Say what is better, and how sure that is."""
    settings = read_standalone(CompareSettings, config)
    one, other = (
        read_side(word, name, settings.results_root, settings.network)
        for name, word in (("a", settings.a), ("b", settings.b))
    )
    log.info("%s", "\n".join(compared(one, other)))
