"""Optimiser steps without the bookkeeping of a run, to be timed."""

import itertools
from collections.abc import Iterator

from cmidd.core.context import Context
from cmidd.core.method import Method
from cmidd.loop.balance import Balance, Ratio
from cmidd.loop.distill import Weighted, distillation_step


def method_steps(context: Context, method: Method, regularizers: Weighted) -> Iterator[None]:
    """A step is an optimiser step, with the work on networks before it and the plain steps after it.

    A weight that a run would measure is 1 here: how long a step takes does not depend on it.
    """
    optimizer = method.optimizer()
    weights = {term.name: 1.0 if isinstance(weight, Ratio) else weight for weight, term in regularizers}
    balance = Balance(weights, context.synthetic.leaf)
    for iteration in itertools.count():
        for number, match in enumerate(method.matches(iteration), 1):
            distillation_step(match, optimizer, regularizers, context.streams, iteration, balance, 0)
            if number % (method.steps_per_iteration // method.main_steps) == 0:
                yield
