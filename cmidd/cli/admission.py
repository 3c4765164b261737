"""The start of a run: the recipe that its words chose, and the first files in its folder, on how it was made."""

import logging
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from cmidd.cli.compose import Composition, compose
from cmidd.cli.configs import options
from cmidd.cli.run_log import RunLog
from cmidd.cli.words import as_typed, quoted
from cmidd.runs.identity import BY_ITSELF, REPEATED, identity_differences
from cmidd.utils import files
from cmidd.utils.errors import SettingError
from cmidd.utils.nested import among, differences
from cmidd.utils.text import command_line

if TYPE_CHECKING:
    from cmidd.runs.settings import Settings

log = logging.getLogger(__name__)


def check_recipe(chosen: Composition) -> None:
    """Say when there is no recipe for a method and data set."""
    choices, recipes = chosen.choices, options("recipe")
    asked = any(word.startswith("recipe=") for word in chosen.words)
    if not asked and f"{choices['method']}_{choices['dataset']}" not in recipes:
        method = choices["method"]
        log.warning("no recipe %s_%s: using the values that the method has by itself", method, choices["dataset"])
    for kind, by_itself in BY_ITSELF.items():
        name = f"{choices[kind]}_{choices['method']}_{choices['dataset']}"
        if choices[kind] != by_itself and name not in options(f"recipe/{kind}"):
            log.warning("no recipe %s/%s: using the values that %s=%s has by itself", kind, name, kind, choices[kind])


def refuse_launcher(words: list[str]) -> None:
    """Refuse a launcher of sweeps for a run that is none, which would be computed here instead.

    Raises:
        SettingError: naming it.
    """
    for word in words:
        if word.lstrip("+").startswith(("launch=", "hydra/launcher=")):
            raise SettingError(f"{word}: hands out the runs of a sweep, and this is one run; add -m to the command")


def say_idle(words: list[str], settings: "Settings") -> None:
    """Say which of these words change nothing, and what would have them do so."""
    from cmidd.runs.idle import idle  # which imports torch

    for name, why in idle(settings).items():
        for word in words:
            if among(word.lstrip("+").partition("=")[0], [name]):
                log.warning("%s changes nothing here: %s", as_typed(word), why)


@dataclass(frozen=True)
class Admission:
    """What a run is told when it may begin in its folder, before which nothing there was touched.

    Args:
        chosen: the words that made the run, and what they chose.
        settings: what became of them.
        said: the log so far, which goes on in the folder.
    """

    chosen: Composition
    settings: "Settings"
    said: RunLog

    def __call__(self, folder: Path) -> dict[str, Any]:
        """Write the record of the words and the log into the folder.

        Returns:
            The line that makes this run, and what it changes from the published recipe.
        """
        differs, chosen = self.differs_from_recipe, self.chosen  # Which may refuse: before anything is written.
        files.write_text(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(chosen.config, resolve=True))
        files.write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(chosen.words)))
        self.said.into(folder)
        return {
            "command": f"{command_line('distill')} {shlex.join(own_words(chosen.words))}".rstrip(),
            "differs_from_recipe": differs,
        }

    @property
    def differs_from_recipe(self) -> dict[str, list[Any]]:
        """What the words changed from the published recipe of their method and data set, ``{setting: [this run's, the
        recipe's]}``.
        """
        return _differences(self.settings, self.chosen.choices)


def own_words(words: list[str]) -> list[str]:
    """The words of a run as distill.py takes them, without what makes it one of a sweep."""
    without = ("+sweep=", "+launch=", "dry_run=", "prepare=")
    return [as_typed(word) for word in words if not word.startswith(without)]


def _differences(settings: "Settings", choices: dict[str, str]) -> dict[str, list[Any]]:
    words = [f"method={choices['method']}", f"dataset={choices['dataset']}", f"ipc={settings.ipc}"]
    given = "lambda", settings.cmi.weight
    if settings.cmi.ratio is not None:
        given = "ratio", settings.cmi.ratio
    words += [f"seed={settings.seed}", f"cmi.{given[0]}={given[1]}", f"data.root={quoted(settings.data.root)}"]
    words += [f"regularizer=[{','.join(settings.regularizers)}]"]
    words += [f"sampler={choices['sampler']}", f"schedule={choices['schedule']}"]
    recipe = compose(words, is_run=False)
    changed = identity_differences(*(files.as_json(each.identity) for each in (settings, recipe)))
    for part in ("whole", "features"):  # They make the accuracies of baselines, which stand in tables by themselves.
        own, published = (asdict(getattr(each.evaluation, part)) for each in (settings, recipe))
        changed += differences(files.as_json(own), files.as_json(published), f"evaluation.{part}")
    return {name: [value, published] for name, value, published in changed if not name.startswith(REPEATED)}
