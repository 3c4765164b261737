"""Recipes of training that a run follows, looked at before any work."""

from cmidd.buffers.experts import ExpertSettings
from cmidd.compute.recipe import TrainingRecipe, refuse_unused
from cmidd.methods import METHODS
from cmidd.runs.settings import Settings
from cmidd.utils.errors import SettingError


def recipes_of(settings: Settings) -> dict[str, TrainingRecipe]:
    """Every recipe of training by the name of its settings: those of the evaluation, and those of the method."""
    found = {"evaluation.training": settings.evaluation.training, "evaluation.whole": settings.evaluation.whole}
    for name, value in settings.arguments.items():
        if isinstance(value, TrainingRecipe):
            found[f"method.{name}"] = value
        elif isinstance(value, ExpertSettings):
            found[f"method.{name}.training"] = value.training
    return found


def check_recipes(settings: Settings) -> None:
    """Refuse settings of recipes that have no effect.

    Raises:
        SettingError: naming the first.
    """
    for name, recipe in recipes_of(settings).items():
        refuse_unused(recipe, name)


def refuse_soft_labels(settings: Settings) -> None:
    """Refuse recipes of a run that need soft labels where its method learns none: no teacher is asked.

    Raises:
        SettingError: naming the first.
    """
    learned = METHODS[settings.method["name"]].soft_labels
    for name, recipe in recipes_of(settings).items():
        if learned and name == "evaluation.training" and recipe.targets == "set":
            continue
        if recipe.loss != "hard":
            raise SettingError(
                f"{name}.loss={recipe.loss}: a run has hard labels alone, and no teacher; give loss=hard or another "
                "evaluation, and evaluate its set with soft labels by cmidd evaluate"
            )
