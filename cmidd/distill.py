"""The loop: step a synthetic set on an objective plus weighted regularisers, resume, evaluate, record."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from cmidd.balance import Balance, Ratio
from cmidd.interruption import deferred_signals
from cmidd.objectives.base import Match, Objective
from cmidd.progress import progress
from cmidd.soundness import Unsound, Watch
from cmidd.state import Remembering, State
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet

log = logging.getLogger(__name__)

CHECK_INTERVAL = 10  # iterations
MOST_ROLLBACKS = 3  # in a row to the same state


class Regularizer(Protocol):
    name: str

    def __call__(self, match: Match, generator: torch.Generator) -> Tensor: ...


def distill(
    objective: Objective,
    synthetic: SyntheticSet,
    regularizers: Sequence[tuple[float | Ratio, Regularizer]],
    streams: Streams,
    *,
    iterations: int,
    checkpoint: Path,
    checkpoint_seconds: float = 60.0,
    on_nan: Literal["stop", "rollback"] = "stop",
    evaluate: Callable[[int], list[float]],
    eval_interval: int,
    evaluate_last: bool = True,
    balance_steps: int = 10,
    measure: bool = False,
    remembering: Mapping[str, Remembering] | None = None,
    arguments: Mapping[str, Any] | None = None,
    log_metrics: Callable[[dict[str, Any]], None],
    forget_metrics: Callable[[int], None],
) -> dict[str, Any]:
    """Distil in place, from ``checkpoint`` where there is one; returns its counts.

    They are ``seconds`` of distillation, ``evaluations``: every accuracy measured on the way and at the end, by
    iteration, ``evaluated_at``: after how many seconds of distillation, ``evaluation_seconds``, and ``rollbacks``;
    beside them are the measured ``weights`` (:meth:`cmidd.balance.Balance.record`). A resumed run gives the same bits
    as an undisturbed one. A regulariser of weight 0 is measured, not optimised.

    Every tenth iteration, and before anything is saved, numbers that went wrong are looked for (``soundness.py``).
    With ``on_nan=rollback`` the run then goes back to the state in which it began the current twentieth of its
    iterations (ten at least), which lies beside the checkpoint, and on from there with other random draws and half the
    step sizes for the rest of the run; when three rollbacks in a row do not bring it into the next twentieth, it stops
    all the same. Where it goes back to depends on iterations alone, not on when a checkpoint was due: so a run that was
    killed goes back to the same state.

    Args:
        evaluate_last: evaluate after the last iteration, whatever the interval.
        balance_steps, measure: as :class:`cmidd.balance.Balance` has them.
        remembering: what else has a state to go on from, by the name that the checkpoint gives it.
        arguments: the method's settings, for messages.
        forget_metrics: called with an iteration: what was logged after it is void.

    Raises:
        Unsound: when numbers went wrong; the last checkpoint stays.
    """
    optimizer = objective.optimizer()
    given = {regularizer.name: weight for weight, regularizer in regularizers}
    balance = Balance(given, synthetic.leaf, balance_steps, measure)
    watch = Watch(objective, synthetic, optimizer, balance.weight, balance.setting, arguments or {})
    state = State(optimizer, {"objective": objective, "balance": balance, **(remembering or {})}, streams, watch)
    counts = state.about
    good = checkpoint.with_name(f"good{checkpoint.name.removeprefix('checkpoint')}")
    good_interval = CHECK_INTERVAL * max(1, iterations // (20 * CHECK_INTERVAL))
    if checkpoint.exists():
        state.load(checkpoint)

    def evaluate_now(done: int) -> None:
        began = time.monotonic()
        counts["evaluations"][str(done)] = evaluate(done)
        counts["evaluated_at"][str(done)] = counts["seconds"]
        counts["evaluation_seconds"] += time.monotonic() - began
        state.save(checkpoint)

    def due(done: int) -> bool:
        return done % eval_interval == 0 or (evaluate_last and done == iterations)

    def marks(done: int) -> bool:
        return on_nan == "rollback" and done % good_interval == 0

    def roll_back(error: Unsound) -> None:
        if on_nan == "stop" or counts["rollbacks_in_a_row"] == MOST_ROLLBACKS:
            kept = f"{checkpoint} holds the last good state" if checkpoint.exists() else "nothing was saved before"
            other = "or on_nan=rollback" if on_nan == "stop" else f"{MOST_ROLLBACKS} rollbacks in a row did not help"
            raise Unsound(f"{error}, with overwrite=true, {other}; {kept}") from error
        newer = {name: counts[name] for name in ("seconds", "evaluation_seconds")}
        newer |= {name: counts[name] + 1 for name in ("rollbacks", "rollbacks_in_a_row")}
        state.load(good, **newer)
        watch.forget()
        log.warning("%s -- back to iteration %d, with half the step sizes", error, counts["iteration"])
        state.save(checkpoint)
        forget_metrics(counts["iteration"])  # A resumed run forgets what its checkpoint does not hold by itself.

    first = counts["iteration"]
    if first > 0 and due(first) and str(first) not in counts["evaluations"]:
        evaluate_now(first)
    if first < iterations and on_nan == "rollback" and (marks(first) or not good.exists()):
        state.save(good)
    saved = time.monotonic()
    with deferred_signals() as signals, progress(None, "distilling", total=iterations, initial=first) as bar:
        while (iteration := counts["iteration"]) < iterations:
            began, done, stopping = time.monotonic(), iteration + 1, False
            try:
                for step, match in enumerate(objective.matches(iteration), iteration * objective.steps_per_iteration):
                    metrics = distillation_step(match, optimizer, regularizers, streams, iteration, balance, step)
                    watch.note(iteration, metrics)
                stopping = signals.asked_to_stop
                saving = stopping or due(done) or done == iterations or time.monotonic() - saved > checkpoint_seconds
                if saving or marks(done):
                    state.check()
                elif done % CHECK_INTERVAL == 0:
                    watch.check()
                if done % CHECK_INTERVAL == 0 or done == iterations:
                    values = measured(match, metrics, regularizers, streams, iteration, synthetic.syn_lr)
                    log_metrics({"iteration": done, **values})
                counts["iteration"] = done
                counts["seconds"] += time.monotonic() - began
                if marks(done):
                    counts["rollbacks_in_a_row"] = 0
                if saving:
                    state.save(checkpoint)
                    saved = time.monotonic()
            except Unsound as error:
                roll_back(error)
            else:
                if due(done) and not stopping:
                    with signals.suspended():
                        evaluate_now(done)
                if marks(done) and not stopping:
                    state.save(good)
            bar.update(counts["iteration"] - iteration)
            if stopping:
                break
    if counts["iteration"] == iterations:
        good.unlink(missing_ok=True)
    return {**counts, "weights": balance.record()}


def measured(
    match: Match,
    metrics: Mapping[str, Tensor],
    regularizers: Sequence[tuple[float | Ratio, Regularizer]],
    streams: Streams,
    iteration: int,
    syn_lr: Tensor | None,
) -> dict[str, float]:
    """What is logged of a step: the loss, every regulariser, also of weight 0, and the learned step size."""
    values = {name: float(value) for name, value in metrics.items() if name != "total"}
    for weight, regularizer in regularizers:
        if weight == 0:
            with torch.no_grad():
                term = regularizer(match, streams(regularizer.name, iteration, match.draw))
            values[regularizer.name] = float(term.sum())
    if syn_lr is not None:
        values["syn_lr"] = float(syn_lr.detach())
    return values


def distillation_step(
    match: Match,
    optimizer: torch.optim.Optimizer,
    regularizers: Sequence[tuple[float | Ratio, Regularizer]],
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
    size = balance.size(loss) if balance.measures(step) else None
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
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=[leaf for group in optimizer.param_groups for leaf in group["params"]])
    optimizer.step()
    return {**metrics, "total": loss.detach()}
