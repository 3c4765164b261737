"""The plan of a run: what is left of it, and how long that takes by what is on record."""

from dataclasses import dataclass
from pathlib import Path

from cmidd.core.context import Context
from cmidd.loop.checkpoints import progress_of
from cmidd.runs.additions import asked_beside
from cmidd.runs.beforehand import (
    Part,
    Timed,
    before,
    experts_of_stages,
    networks_of,
    progress,
    stages_to_come,
    warming,
)
from cmidd.runs.build import expert_settings
from cmidd.runs.costs import costs, kind_of
from cmidd.runs.recipes import refuse_soft_labels
from cmidd.runs.run_folder import read_finished, refuse_other_settings
from cmidd.runs.settings import Settings
from cmidd.runs.stages import evaluated_after


@dataclass(frozen=True)
class Plan:
    """What is left of one run; ``seconds_left`` is None where no record tells."""

    state: str
    seconds_left: float | None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to distil; baselines may be, which are asked for beside."""
        return self.state.startswith("done")


def plan(settings: Settings) -> Plan:
    """What is left of a run, at the seconds per iteration recorded for its like under ``results_root``.

    Raises:
        SettingError: when the run's folder holds one of other settings, or a run would refuse the settings.
    """
    folder = settings.folder
    refuse_soft_labels(settings)
    if not settings.overwrite:
        refuse_other_settings(settings)
        if (folder / "DONE").exists():
            beside = asked_beside(settings, read_finished(folder))
            return Plan(f"done, but for: {', '.join(beside)}", None) if beside else Plan("done", 0.0)
    at, iterations = progress(settings)
    left = _recorded(settings, at, iterations)
    state = f"goes on at iteration {at} of {iterations}" if at else "to do"
    return Plan(state, None if None in left else sum(left))  # type: ignore[arg-type]


def at_measured(settings: Settings, planned: Plan, timed: Timed | None) -> Plan:
    """A plan at measured seconds, without what runs share; as it was where nothing was measured."""
    if timed is None:
        return planned
    later = sum(part.seconds or 0.0 for part in experts_of_stages(settings, timed))
    return Plan(planned.state, later + sum(_measured(settings, timed, *progress(settings))))


def parts(settings: Settings, planned: Plan, context: Context | None, timed: Timed | None = None) -> list[Part]:
    """Every part of a run that is not done, what there is of it, and how long the rest takes.

    Args:
        planned: the run's :func:`plan`.
        context: the world of the run; None where its data set is not here yet.
        timed: measured seconds, which go before recorded ones.
    """
    if planned.finished:
        return [] if planned.state == "done" else [Part("beside", planned.state.partition(": ")[2], None)]
    at, iterations = progress(settings)
    left = _recorded(settings, at, iterations) if timed is None else _measured(settings, timed, at, iterations)
    return [
        *(before(settings, context, timed) if context else [Part("data", "not here yet, is downloaded first", None)]),
        Part("distillation", f"{iterations - at} of {iterations} iterations", left[0]),
        Part("evaluation", evaluations(settings, at), left[1]),
    ]


def evaluations(settings: Settings, at: int) -> str:
    """How often a set is still evaluated, and with what."""
    protocol, left = settings.evaluation, sum(done > at for done in evaluated_after(settings))
    often = "once" if left == 1 else f"{left} times"
    return f"{often} {networks_of(protocol.repeats, protocol.training.epochs)}"


def _recorded(settings: Settings, at: int, iterations: int) -> tuple[float | None, float | None]:
    """Seconds left of the iterations and of the evaluations, by what is on record of this run and its like."""
    known = costs(Path(settings.results_root).absolute()).get(kind_of(settings.identity))
    per_iteration = known[0] if known else None
    if at:
        per_iteration = progress_of(settings.folder).seconds / at
    epochs = _trained(settings, at) * settings.evaluation.training.epochs
    return (
        None if per_iteration is None else per_iteration * (iterations - at),
        known[1] * epochs if known else None,
    )


def _measured(settings: Settings, timed: Timed, at: int, iterations: int) -> tuple[float, float]:
    """As :func:`_recorded`, at measured seconds."""
    in_stages = sum(
        warming(settings, stage, None, timed)
        for stage in stages_to_come(settings, at)
        if not expert_settings(settings, stage)
    )
    seconds = timed.iteration * (iterations - at) + in_stages
    return seconds, _trained(settings, at) * timed.evaluation


def _trained(settings: Settings, at: int) -> int:
    """How often a network is trained in the evaluations that are left, on every stage so far each time."""
    stages = sum(-(-done // settings.iterations) for done in evaluated_after(settings) if done > at)
    return stages * settings.evaluation.repeats
