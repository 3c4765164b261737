"""The runs of a sweep, known before they are run: their words as Hydra deals them out, and their settings."""

import dataclasses
from typing import TYPE_CHECKING, Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from cmidd.cli.compose import compose
from cmidd.cli.refusals import fresh_hydra
from cmidd.cli.words import LAUNCHING
from cmidd.utils.errors import SettingError

if TYPE_CHECKING:
    from cmidd.runs.settings import Settings

AHEAD = ("dry_run=", "prepare=")  # what asks for something before the runs, and is no word of theirs


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
        seeds = [word.removeprefix("seed=") for word in words if word.startswith("seed=")]
        if not seeds or not seeds[-1].isdigit():
            return compose(words)
        others = tuple(word for word in words if not word.startswith("seed="))
        if others not in self._composed:
            self._composed[others] = compose(list(others))
        return dataclasses.replace(self._composed[others], seed=int(seeds[-1]))
