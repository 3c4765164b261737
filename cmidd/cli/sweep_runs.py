"""The runs of a sweep, known before they are run: their words as Hydra deals them out, and their settings."""

import contextlib
import dataclasses
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cmidd.cli.compose import compose
from cmidd.cli.configs import ROOMS, groups
from cmidd.cli.refusals import fresh_hydra
from cmidd.cli.words import LAUNCHING, as_hydra_reads, as_typed
from cmidd.runs.identity import identity_differences
from cmidd.utils import files
from cmidd.utils.errors import SettingError

if TYPE_CHECKING:
    from cmidd.runs.settings import Settings

AHEAD = ("dry_run=", "prepare=")  # what asks for something before the runs, and is no word of theirs
# Runs that differ in one of these have other folders, or are the same run.
NAMED = (
    *("dataset", "method", "regularizer", "sampler", "schedule"),
    *("ipc", "cmi", "cmi.lambda", "cmi.ratio", "seed", "results_root"),
)
SEED = re.compile(r"seed=(0|[1-9]\d{0,17})")  # one that needs no check


def runs_of(words: list[str], asked: str) -> list[list[str]]:
    """The words of every run of a sweep, as Hydra's own sweeper would deal them out.

    Args:
        words: of the sweep, as Hydra reads them.
        asked: the word that wants to know, which an error names.

    Raises:
        SettingError: for another sweeper, which chooses its runs by what the earlier ones gave.
    """
    given = [
        word for word in words if not word.startswith(("-", *LAUNCHING)) and not word.lstrip("+").startswith(AHEAD)
    ]
    sweep = [word for word in given if word.startswith(("+sweep=", "hydra"))]
    with fresh_hydra():
        config = hydra.compose("distill", sweep, return_hydra_config=True)
        sweeper: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
        if not sweeper["_target_"].endswith(BasicSweeper.__name__):
            raise SettingError(
                f"{asked}: {sweeper['_target_'].rpartition('.')[2]} chooses each run by what the earlier ones "
                "gave, so nobody knows them; leave +sweep or hydra/sweeper out to look at one run"
            )
        params = [f"{name}={value}" for name, value in (sweeper["params"] or {}).items()]
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        mine = [word for word in given if not word.startswith(("+sweep=", "hydra"))]
        overrides = parser.parse_overrides([*params, *mine])
    return [run for batch in BasicSweeper.split_arguments(overrides, None) for run in batch]


class Composer:
    """Composes the settings of runs; those that differ in nothing but the seed once."""

    def __init__(self) -> None:
        self._composed: dict[tuple[str, ...], Settings] = {}

    def __call__(self, words: list[str]) -> "Settings":
        """The settings of a run of these words."""
        seeds = [word for word in words if re.search(r"\bseed\b", word)]  # Others may refer to it: ${seed}
        if len(seeds) != 1 or not (seed := SEED.fullmatch(seeds[0])):
            return compose(words)
        others = tuple(word for word in words if word != seeds[0])
        if others not in self._composed:
            self._composed[others] = compose(list(others))
        return dataclasses.replace(self._composed[others], seed=int(seed[1]))


class Folders:
    """The folders of the runs of a sweep, each of which holds one run.

    Attributes:
        unnamed: what is not the same in all runs and no part of a folder's name.
    """

    def __init__(self, runs: list[list[str]]) -> None:
        alike = set(runs[0]).intersection(*runs) if runs else set()
        others = [word for run in runs for word in run if word not in alike]
        varying = dict.fromkeys(word.lstrip("+~").partition("=")[0] for word in others)
        # Published weights are those of cmi=recipe too, with other teachers.
        unnamed_cmi = ["cmi"] if "cmi=paper" in others else []
        self.unnamed = [name for name in varying if name not in NAMED or name in unnamed_cmi]
        self._taken: dict[Path, tuple[list[str], Any]] = {}

    def take(self, words: list[str], settings: "Settings") -> None:
        """Note the folder of one more run.

        Raises:
            SettingError: when another run has it, of settings that make another result.
        """
        identity = files.as_json(settings.identity)
        others, before = self._taken.setdefault(settings.folder.absolute(), (words, identity))
        if not identity_differences(before, identity):
            return
        own = shlex.join(as_typed(word) for word in words if word not in others)
        other = shlex.join(as_typed(word) for word in others if word not in words)
        raise SettingError(
            f"{own}: another run than {other}, which has the same folder {settings.folder}; "
            f"{self._way_out(words, settings.results_root)}"
        )

    def _way_out(self, words: list[str], root: str) -> str:
        for word in words:
            root = as_typed(word).removeprefix("results_root=") if word.startswith("results_root=") else root
        names = [f"{name}.name" if name in ROOMS else name for name in self.unnamed]
        if any(name in groups() for name in names):  # Nothing in it says which one was chosen.
            return "start them apart, and give each another results_root"
        each = [f"{name.removesuffix('.name').rpartition('.')[2]}${{{name}}}" for name in names if name not in root]
        if not each:
            return "give each its own results_root"
        return f"give each its own: 'results_root={root}/{'_'.join(each)}'"


def refuse_shared_folders(words: list[str]) -> None:
    """Compose the runs of a sweep before the first begins, where what varies is not all in the names of folders.

    Raises:
        SettingError: when a run would find another run of the sweep in its folder, and be refused.
    """
    try:
        runs = runs_of(as_hydra_reads(words), "")
    except (SettingError, HydraException, OmegaConfBaseException):  # The sweep itself says so; or Optuna chooses.
        return
    folders, composer = Folders(runs), Composer()
    for run in runs if folders.unnamed else []:
        settings = None
        with contextlib.suppress(SettingError, OSError):  # Its own turn will say so.
            settings = composer(run)
        if settings is not None:
            folders.take(run, settings)
