"""The identity of a run: which settings make its result, and how folders and tables name it."""

from collections.abc import Mapping
from typing import Any

from cmidd.compute import earlier
from cmidd.utils.nested import among, at, differences, merged

EXPERTS_LENGTH = "method.experts.training.epochs"
TEACHERS = ("cmi.teacher", "cmi.teachers", "cmi.pool", "cmi.epochs")  # what says which teachers CMI's and IID's are
# Methods that read pieces of trajectories alone. Any other may read how an expert ends, so that its length matters.
READING_PIECES = ("mtt",)

WITHOUT_EFFECT = (
    "cmi.measure",
    "engine.at_once",
    "engine.compile",
    "engine.deterministic",
    "engine.graphs",
    "evaluation.baselines",
    "evaluation.features",
    "evaluation.interval",
    "evaluation.whole",
)
"""The settings that change what is recorded beside, or how sums are ordered, but not what any run computes: baselines
are measured apart, and evaluations and measurements of CMI draw from random streams of their own.
"""


REPEATED = ("method.iterations", "method.init", "method.formation")
"""What an identity says of a method that stands on its top as well."""


def without_effect(settings: Any) -> list[str]:
    """The settings among those of a run that do not change what it computes: :data:`WITHOUT_EFFECT`, what CMI would be
    measured with where it has no weight, over how many steps where no ratio is asked for, the length of experts whose
    learning rate does not depend on it, and a ``dtype`` that older records do not name.
    """
    names, regularizers = list(WITHOUT_EFFECT), at(settings, "regularizers") or {}
    if at(settings, "cmi.ratio") is None:
        if at(settings, "cmi.weight") == 0:
            names += ["cmi.centroids", "cmi.input"]
            if not regularizers:  # Theirs are made like those of CMI.
                names += TEACHERS
        if all(at(regularizers, f"{name}.ratio") is None for name in regularizers):
            names.append("balance_steps")
    constant = (at(settings, "method.experts.training.schedule") or "constant") == "constant"
    if constant and at(settings, "method.name") in READING_PIECES:
        names.append(EXPERTS_LENGTH)
    if at(settings, "method.experts.dtype") == "float32":
        names.append("method.experts.dtype")
    return names


def matters(name: str, settings: Any) -> bool:
    """Whether a setting of a dotted name changes what a run of these settings computes."""
    return not among(name, without_effect(settings))


def comparable(settings: Any) -> Any:
    """The settings of a run without those of :func:`without_effect`."""
    method, overrides = at(settings, "method"), at(settings, "schedule.overrides")
    for name in without_effect(settings):
        settings = _without(settings, name)
    if not isinstance(overrides, list | tuple) or not isinstance(method, dict):
        return settings
    in_stages = []
    for override in overrides:
        whole = {"method": merged(method, override) if isinstance(override, dict) else {}}
        ignored = EXPERTS_LENGTH in without_effect(whole)
        in_stages.append(_without(override, EXPERTS_LENGTH.removeprefix("method.")) if ignored else override)
    return {**settings, "schedule": {**settings["schedule"], "overrides": in_stages}}


def _without(settings: Any, name: str) -> Any:
    """Nested settings without the one of a dotted name, and without what is empty then."""
    key, _, rest = name.partition(".")
    if not isinstance(settings, dict) or key not in settings:
        return settings
    below = _without(settings[key], rest) if rest else {}
    others = {other: value for other, value in settings.items() if other != key}
    return others if below == {} else {**settings, key: below}


RECIPES = ("evaluation.training", "evaluation.whole", "method.net", "method.experts.training", "method.models.training")
"""The settings that are recipes of training."""


EARLIER: dict[str, Any] = {
    "balance_steps": 10,
    "cmi.input": "preprocessed",
    "cmi.ratio": None,
    "cmi.teachers": None,
    "dataset.channels": None,
    "dataset.fill": "none",
    "dataset.fit": "crop",  # Of square pictures, which every fit leaves alike; others are refused by their content.
    "engine.at_once": "auto",
    "engine.graphs": False,
    "evaluation.optimizer": "fresh",
    "evaluation.selection": "last",
    "evaluation.tests": 1,
    "method.distinct": False,
    "regularizers.iid.teacher_weight_decay": 1e-3,
    "sampler.rounds": 20,
    **{f"{recipe}.{name}": value for recipe in RECIPES for name, value in earlier.EARLIER.items()},
}
"""What held before there was a setting. With this value it is no part of a run's identity, so that what was made before
goes on, loads and counts; with another, what was made before is refused by the setting's name.
"""


def identity_differences(old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """:func:`differences` of the identities of two runs in what they compute, each with what held where it says
    nothing; none for runs of which one may go on as the other, and which share a cell but for their seeds.

    Earlier versions said nothing of the images of a folder: theirs are taken for any of that folder.
    """
    unsaid = at(old, "dataset.name") == "folder" and None in (at(old, "data.content"), at(new, "data.content"))

    def said(name: str, value: Any) -> Any:
        return EARLIER.get(name) if value is None else value

    return [
        (name, said(name, one), said(name, other))
        for name, one, other in differences(comparable(old), comparable(new))
        if not (unsaid and name == "data.content")
    ]


BY_ITSELF = {"sampler": "random", "schedule": "whole"}
"""The plug-ins that every method has by itself."""


BASELINE = "0"
"""The :func:`strength` of CMI in a run without it."""


def strength(cmi: Mapping[str, Any]) -> str:
    """How much of CMI there is, as folders and tables name it: a weight (``8000``), or a ratio (``balanced0.3``)."""
    ratio = cmi.get("ratio")
    return f"{cmi['weight']:.10g}" if ratio is None else f"balanced{ratio:.10g}"


def setting_of(strength: str) -> tuple[str, str]:
    """The setting of CMI behind a :func:`strength`, and its value: ``("lambda", "8000")``, ``("ratio", "0.3")``."""
    value = strength.removeprefix("balanced")
    return "lambda" if value == strength else "ratio", value


def system(settings: Mapping[str, Any]) -> str:
    """The method with what was added to it, as folders and tables name it: ``idm``, ``idm+iid``, ``idc+dream+pdd``."""
    others = [settings.get(kind, {}).get("name", by_itself) for kind, by_itself in BY_ITSELF.items()]
    added = [*sorted(settings.get("regularizers", {})), *(name for name in others if name not in BY_ITSELF.values())]
    return "+".join([settings["method"]["name"], *added])


def dataset_name(settings: Mapping[str, Any]) -> str:
    """The data set of an identity, as tables name it: ``cifar10``; a file of arrays is ``arrays_<file>``."""
    name: str = settings["dataset"]["name"]
    return f"arrays_{settings['data']['file']}" if name == "arrays" else name
