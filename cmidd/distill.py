"""The loop: step a synthetic set on an objective plus weighted regularisers, resume, evaluate, record."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cmidd import files
from cmidd.errors import SettingError
from cmidd.formats import restoring
from cmidd.interruption import deferred_signals
from cmidd.objectives.base import Match, Objective
from cmidd.progress import progress
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet


class Regularizer(Protocol):
    name: str

    def __call__(self, match: Match, generator: torch.Generator) -> Tensor: ...


class Remembering(Protocol):
    def state(self) -> dict[str, Tensor]: ...

    def load_state(self, tensors: dict[str, Tensor]) -> None: ...


def distill(
    objective: Objective,
    synthetic: SyntheticSet,
    regularizers: Sequence[tuple[float, Regularizer]],
    streams: Streams,
    *,
    iterations: int,
    checkpoint: Path,
    checkpoint_seconds: float = 60.0,
    evaluate: Callable[[int], list[float]],
    eval_interval: int,
    evaluate_last: bool = True,
    remembering: Mapping[str, Remembering] | None = None,
    log_metrics: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Distil in place, from ``checkpoint`` where there is one; returns its state.

    The state holds ``seconds`` of distillation, ``evaluations``: every accuracy measured on the way and at the
    end, by iteration, ``evaluated_at``: after how many seconds of distillation, and ``evaluation_seconds``. A
    resumed run gives the same bits as an undisturbed one. A regulariser of weight 0 is measured, not optimised.

    Args:
        evaluate_last: evaluate after the last iteration, whatever the interval.
        remembering: what else has a state to go on from, by the name that the checkpoint gives it.

    Raises:
        SettingError: when the loss is not finite; the last checkpoint stays.
    """
    memories: dict[str, Remembering] = {"objective": objective, **(remembering or {})}
    optimizer = objective.optimizer()
    leaves: list[Tensor] = [leaf for group in optimizer.param_groups for leaf in group["params"]]
    state: dict[str, Any] = {
        "iteration": 0,
        "seconds": 0.0,
        "evaluation_seconds": 0.0,
        "evaluations": {},
        "evaluated_at": {},
    }
    if checkpoint.exists():
        tensors, state = files.read_tensors(checkpoint)
        with restoring(checkpoint):
            for number, leaf in enumerate(leaves):
                with torch.no_grad():
                    leaf.copy_(tensors[f"leaf_{number}"])
                if f"momentum_{number}" in tensors:
                    optimizer.state[leaf]["momentum_buffer"] = tensors[f"momentum_{number}"].to(leaf.device)
            for name, memory in memories.items():
                own = f"{name}/"
                memory.load_state({key.removeprefix(own): t for key, t in tensors.items() if key.startswith(own)})

    def save() -> None:
        tensors = {f"leaf_{number}": leaf for number, leaf in enumerate(leaves)}
        for name, memory in memories.items():
            tensors.update({f"{name}/{key}": tensor for key, tensor in memory.state().items()})
        for number, leaf in enumerate(leaves):
            if (buffer := optimizer.state[leaf].get("momentum_buffer")) is not None:
                tensors[f"momentum_{number}"] = buffer
        files.write_tensors(checkpoint, tensors, state)

    def evaluate_now(done: int) -> None:
        began = time.monotonic()
        state["evaluations"][str(done)] = evaluate(done)
        state["evaluated_at"][str(done)] = state["seconds"]
        state["evaluation_seconds"] += time.monotonic() - began
        save()

    def due(done: int) -> bool:
        return done % eval_interval == 0 or (evaluate_last and done == iterations)

    first = state["iteration"]
    if first > 0 and due(first) and str(first) not in state["evaluations"]:
        evaluate_now(first)
    saved = time.monotonic()
    with deferred_signals() as signals:
        for iteration in progress(range(first, iterations), "distilling", total=iterations, initial=first):
            began = time.monotonic()
            for match in objective.matches(iteration):
                metrics = distillation_step(match, optimizer, regularizers, streams, iteration)
            done = iteration + 1
            if done % 10 == 0 or done == iterations:
                values = {name: float(value) for name, value in metrics.items() if name != "total"}
                if not all(torch.isfinite(leaf).all() for leaf in leaves) or not torch.isfinite(metrics["total"]):
                    raise SettingError(
                        f"method.lr_img: the loss or the images are not finite at iteration {done} ({values}); choose "
                        f"a smaller method.lr_img or cmi.lambda -- the last good state is {checkpoint}"
                    )
                for weight, regularizer in regularizers:
                    if weight == 0:
                        with torch.no_grad():
                            term = regularizer(match, streams(regularizer.name, iteration, match.draw))
                        values[regularizer.name] = float(term.sum())
                if synthetic.syn_lr is not None:
                    values["syn_lr"] = float(synthetic.syn_lr.detach())
                log_metrics({"iteration": done, **values})
            state["iteration"] = done
            state["seconds"] += time.monotonic() - began
            stopping = signals.asked_to_stop
            if stopping or due(done) or done == iterations or time.monotonic() - saved > checkpoint_seconds:
                save()
                saved = time.monotonic()
            if stopping:
                break
            if due(done):
                with signals.suspended():
                    evaluate_now(done)
    return state


def distillation_step(
    match: Match,
    optimizer: torch.optim.Optimizer,
    regularizers: Sequence[tuple[float, Regularizer]],
    streams: Streams,
    iteration: int,
) -> dict[str, Tensor]:
    """Step the set on the match's loss plus the weighted terms; returns ``loss``, the terms, and their ``total``."""
    loss = match.loss.sum()
    metrics = {"loss": loss.detach()}
    for weight, regularizer in regularizers:
        if weight == 0:
            continue
        term = regularizer(match, streams(regularizer.name, iteration, match.draw))
        scale = match.scale if term.dim() == 0 else 1  # What is per class is added to each class's loss once.
        metrics[regularizer.name] = term.detach().sum()
        loss = loss + weight * scale * term.sum()
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=[leaf for group in optimizer.param_groups for leaf in group["params"]])
    optimizer.step()
    return {**metrics, "total": loss.detach()}
