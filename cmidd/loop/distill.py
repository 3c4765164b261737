"""The loop: step a synthetic set on a method's loss plus weighted regularisers, resume, evaluate, record."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmidd.core.match import Match
from cmidd.core.method import Method
from cmidd.core.regularizer import Regularizer
from cmidd.loop.balance import Balance, Ratio
from cmidd.loop.contract import Held, matches_of, refuse_unmoved
from cmidd.loop.divergence import CHECK_INTERVAL, Diverged, Watch
from cmidd.loop.keeping import Keeping
from cmidd.loop.pace import Observer, Pace
from cmidd.loop.rollback import Rollback
from cmidd.loop.state import Remembering, State
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.interruption import deferred_signals
from cmidd.utils.progress import counted
from cmidd.utils.random_streams import Streams

log = logging.getLogger(__name__)
Weighted = Sequence[tuple[float | Ratio, Regularizer]]


def distill(
    method: Method,
    synthetic: SyntheticSet,
    regularizers: Weighted,
    streams: Streams,
    pace: Pace,
    checkpoint: Path,
    observer: Observer,
    *,
    remembering: Mapping[str, Remembering],
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """Distil in place, from ``checkpoint`` where there is one; returns the counts of :class:`cmidd.loop.state.State`
    and the measured ``weights``. A resumed run gives the same bits as an undisturbed one.

    Args:
        remembering: what else has a state to go on from, by the name that the checkpoint gives it.
        arguments: the method's settings, for messages.

    Raises:
        Diverged: when numbers went wrong; the last checkpoint stays.
        SettingError: when a plug-in gives what its interface does not say.
    """
    num_classes = len(synthetic.classes)
    regularizers = [(weight, Held(term, num_classes)) for weight, term in regularizers]
    optimizer, given = method.optimizer(), {term.name: weight for weight, term in regularizers}
    balance = Balance(given, synthetic.leaf, pace.balance_steps, pace.measure)
    watch = Watch(method, synthetic, optimizer, balance.weight, balance.setting, arguments)
    state = State(optimizer, {"objective": method, "balance": balance, **remembering}, streams, watch)
    if checkpoint.exists():
        state.load(checkpoint)
    keeping = Keeping(state, checkpoint, pace, observer)
    rollback = Rollback(state, checkpoint, pace.iterations, pace.on_nan, observer.forget)
    keeping.catch_up()
    rollback.begin()
    stopping, total, first = False, pace.iterations, state.iteration
    with deferred_signals() as signals, counted("distilling", total=total, initial=first) as bar:
        bar.say(**keeping.accuracy)
        while (iteration := state.iteration) < total and not stopping:
            began, done = time.monotonic(), iteration + 1
            try:
                match, metrics = _iteration(method, optimizer, regularizers, streams, balance, state, num_classes)
                stopping = signals.asked_to_stop
                saving = stopping or keeping.due(done)
                state.check(everything=saving or rollback.marks(done), now=done % CHECK_INTERVAL == 0)
                if done % CHECK_INTERVAL == 0 or done == total:
                    values = measured(match, metrics, regularizers, streams, iteration, synthetic.syn_lr)
                    observer.metrics({"iteration": done, **values})
                    bar.say(**values)
                elif bar.looks():  # Now and then: each of them waits for the device.
                    bar.say(**_numbers({name: value for name, value in metrics.items() if name != "total"}))
                del match, metrics  # Else their tensors would stay while the next iteration computes.
                state.advance(time.monotonic() - began)
                rollback.passed(done)
                if saving:
                    keeping.save()
            except Diverged as error:
                rollback.back(error)
            else:
                if pace.evaluates(done) and not stopping:
                    with signals.suspended():
                        keeping.evaluate()
                    bar.say(**keeping.accuracy)
                if not stopping:
                    rollback.mark(done)
            bar.later(keeping.seconds_to_come())
            bar.update(state.iteration - iteration)
        if stopping:
            log.info("stopped at iteration %d of %d, saved; the same command goes on", state.iteration, total)
    rollback.end()
    return {**state.about, "weights": balance.record()}


def _iteration(
    method: Method,
    optimizer: torch.optim.Optimizer,
    regularizers: Weighted,
    streams: Streams,
    balance: Balance,
    state: State,
    num_classes: int,
) -> tuple[Match, dict[str, Tensor]]:
    """Take the steps of the next iteration; returns its last main match, and the metrics of that and of what is beside
    it.
    """
    iteration = state.iteration
    step = iteration * method.main_steps - state.about["declined"]
    for each in matches_of(method, iteration, num_classes):
        stepped = distillation_step(each, optimizer, regularizers, streams, iteration, balance, step)
        state.watch.note(iteration, stepped)
        state.about["declined"] += each.declined
        if each.beside is None:
            match, metrics, step = each, stepped, step + (not each.declined)
        else:
            metrics = {**metrics, each.beside: stepped["loss"]}
    return match, metrics


def measured(
    match: Match,
    metrics: Mapping[str, Tensor],
    regularizers: Weighted,
    streams: Streams,
    iteration: int,
    syn_lr: Tensor | None,
) -> dict[str, float]:
    """What is logged of a step: the loss, every regulariser, also of weight 0, and the learned step size."""
    values = {name: value for name, value in metrics.items() if name != "total"}
    for weight, regularizer in regularizers:
        if weight == 0 or match.declined:
            with torch.no_grad():
                term = regularizer(match, streams(regularizer.name, iteration, match.draw))
            values[regularizer.name] = term.sum()
    if syn_lr is not None:
        values["syn_lr"] = syn_lr.detach()
    return _numbers(values)


def _numbers(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars of the device as numbers; it is waited for once."""
    return dict(zip(values, torch.stack([value.float() for value in values.values()]).tolist(), strict=True))


def distillation_step(
    match: Match,
    optimizer: torch.optim.Optimizer,
    regularizers: Weighted,
    streams: Streams,
    iteration: int,
    balance: Balance,
    step: int,
) -> dict[str, Tensor]:
    """Step the set on the match's loss plus the weighted terms; returns ``loss``, the terms, and their ``total``.

    Args:
        step: the number of this step, counted from the first of the stage.
    """
    loss = match.loss.sum()
    metrics = {"loss": loss.detach()}
    if match.declined or match.beside is not None:
        metrics |= {term.name: torch.zeros_like(loss.detach()) for _, term in regularizers if balance.adds(term.name)}
        regularizers = ()
    size = balance.size(loss) if regularizers and balance.measures(step) else None
    for _, regularizer in regularizers:
        name = regularizer.name
        if size is None and not balance.adds(name):
            continue
        term = regularizer(match, streams(name, iteration, match.draw))
        scale = match.scale if term.dim() == 0 else 1  # What is per class is added to each class's loss once.
        if size is not None:
            balance.note(name, iteration, size, scale * balance.size(term.sum()))
        if balance.adds(name):
            metrics[name] = term.detach().sum()
            loss = loss + balance.weight(name) * scale * term.sum()
    if match.declined:
        return {**metrics, "total": loss.detach()}
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=[leaf for group in optimizer.param_groups for leaf in group["params"]])
    refuse_unmoved(optimizer)
    optimizer.step()
    return {**metrics, "total": loss.detach()}
