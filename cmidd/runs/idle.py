"""Settings that change nothing in a run, for what they belong to is not in it."""

from cmidd.evaluation.chosen_images import RULES
from cmidd.runs.identity import TEACHERS
from cmidd.runs.settings import Settings
from cmidd.runs.tracking import chosen


def idle(settings: Settings) -> dict[str, str]:
    """The settings without effect, by dotted name (of a whole group: ``evaluation.whole``), and what they need."""
    found: dict[str, str] = {}
    if not settings.cmi.active:
        found |= dict.fromkeys(("cmi.centroids", "cmi.input"), "CMI is off; give cmi.lambda, cmi=recipe or cmi.measure")
    if not settings.taught:
        found |= dict.fromkeys(TEACHERS, "no term asks for teachers; give cmi.lambda, cmi=recipe or regularizer=[iid]")
    ratios = (term.get("ratio") for term in settings.terms.values())
    if not settings.cmi.measure and not any(ratios):
        found["balance_steps"] = "no weight is measured; give cmi=balanced or cmi.measure=true"
    if len(settings.stage_sizes) == 1:
        found["evaluation.optimizer"] = "the set is made in one stage; give schedule=pdd"
    if RULES.keys().isdisjoint(settings.evaluation.baselines):
        found["evaluation.features"] = "no baseline is chosen by features; give evaluation.baselines=[herding]"
    if "whole" not in settings.evaluation.baselines:
        found["evaluation.whole"] = "the whole data set is not measured; give evaluation.baselines=[whole]"
    if chosen(settings.tracking, settings.wandb) != "wandb":
        found["wandb.project"] = "wandb is not shown the run; give tracking=wandb"
    if settings.dataset.get("zca"):
        found["dataset.statistics"] = "images are whitened, not normalised; give dataset.zca=false"
    if settings.dataset["name"] == "digits":
        found |= dict.fromkeys(("data.root", "data.download"), "the digits come with a library; give dataset=<name>")
    return found
