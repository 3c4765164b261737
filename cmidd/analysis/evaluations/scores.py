"""The scores of an evaluation (``scores=true``): what they are measured with, and what does not fit them."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmidd.analysis.evaluations.protocol import Asked, wants_teacher
from cmidd.analysis.evaluations.settings import Request
from cmidd.compute.training import Teacher
from cmidd.core.context import Context
from cmidd.evaluation.baselines import baseline_file, baselines
from cmidd.evaluation.score_terms import ipc_of, measure_scores, refuse_unscorable
from cmidd.evaluation.scores import Scores
from cmidd.runs.identity import TEACHERS
from cmidd.runs.teaching import context_of_subject
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams

log = logging.getLogger(__name__)


def refuse_unfit_for_scores(request: Request, asked: Asked, networks: int) -> None:
    """Refuse what has no scores, before anything is trained.

    Args:
        networks: how many kinds of networks are evaluated.

    Raises:
        SettingError: for the first setting that does not go with ``scores``.
    """
    real = request.own.scores_real
    if not request.own.scores:
        if real is not None:
            raise SettingError(f"scores_real={real}: changes nothing without scores; give scores=true, or remove it")
        return
    if real is not None and networks > 1:
        raise SettingError(
            f"scores_real={real}: is the accuracy of one network, and there are {networks}; give one network, or leave "
            "scores_real out"
        )
    if asked.protocol.selection != "last":
        raise SettingError(
            f"evaluation.selection={asked.protocol.selection}: scores are of networks after their last epoch; give "
            "evaluation.selection=last, or scores=false"
        )
    if asked.subject.recipe.loss == "hard" and (named := [name for name in TEACHERS if name in request.typed]):
        raise SettingError(
            f"{request.value(named[0])}: the set is trained on with hard labels, as are random images beside it; "
            f"remove {named[0]}, or give evaluation.training.loss="
        )
    refuse_unscorable(asked.subject, taught=wants_teacher(request, asked))


def with_scores(
    request: Request,
    asked: Asked,
    title: str,
    options: dict[str, Any],
    accuracies: list[float],
    teacher: Teacher | None,
    *,
    kept: Path | None,
    made_by: Mapping[str, Any],
) -> Scores:
    """The scores of a set on one network.

    Args:
        title, options: the network's.
        accuracies: of the set as it is, which were measured before.
        teacher: labels random images, where the set's are soft.
        kept, made_by: as for :func:`cmidd.evaluation.evaluate.evaluate`.
    """
    real, real_from = _real(request, asked, context_of_subject(asked.settings, asked.subject, options))
    return measure_scores(
        asked.subject,
        options,
        asked.protocol,
        Streams(asked.settings.seed).child(title).child("scores"),
        real=real,
        real_from=real_from,
        teacher=teacher,
        syn_any=accuracies,
        kept=kept,
        made_by=made_by,
    )


def _real(request: Request, asked: Asked, context: Context) -> tuple[list[float], str]:
    """Accuracies of the whole training set, and where they come from."""
    if request.own.scores_real is not None:
        return [request.own.scores_real], f"scores_real={request.own.scores_real:g}, as given"
    protocol = dataclasses.replace(asked.protocol, baselines=("whole",))
    path, _ = baseline_file(context, protocol, ipc_of(asked.subject), "whole")
    if not path.exists():
        log.info(
            "scores: %d networks are trained on the whole training set, by evaluation.whole, and kept for later; "
            "scores_real=<per cent> gives a known accuracy instead",
            protocol.repeats,
        )
    values = baselines(context, protocol, ipc_of(asked.subject))["whole"]
    return values, f"{len(values)} networks trained on it by evaluation.whole"
