"""What is asked of an evaluation: the settings of a run and its own, and which of them a user typed."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from cmidd.networks import NETWORKS
from cmidd.runs.identity import TEACHERS
from cmidd.runs.settings import Settings
from cmidd.synthetic.makers import MAKERS
from cmidd.utils.checking import checked, own_of, shown
from cmidd.utils.errors import SettingError
from cmidd.utils.nested import among
from cmidd.utils.setting_types import PathText

Compose = Callable[[list[str]], Settings]
"""The settings of a run that the words of a command line make, in ``configs/evaluate.yaml``."""

WORD = re.compile(r"\+{0,2}([^=@~+\s-][^=@\s]*)=(.*)", re.DOTALL)
# The parts of a run's settings that an evaluation reads, and what of these it does not.
READ = (
    *("network", "evaluation", "dataset", "method", "ipc", "recipe", "seed"),
    *("device", "data", "buffers_root", "engine", "hydra"),
)
UNREAD = ("evaluation.interval", "evaluation.baselines")
OF_METHOD = ("method.formation", "method.augment")
SWEEPING = ("sweep", "launch")
HELD_OUT = 0.1  # of the training set, where dataset.validation does not say it


def _maker(word: str) -> str:
    if word not in MAKERS:
        raise ValueError(f"unknown; choose one of {', '.join(MAKERS)}")
    return word


@dataclass(frozen=True)
class EvaluationSettings:
    """What an evaluation has beside the settings of a run (``configs/evaluate.yaml``).

    ``synthetic``: the sets, each a path. ``networks``: names of the zoo, or dictionaries with settings beside the name;
    None: the network that is chosen, or the set's own. ``maker``: who made a set of others, where that is no method
    here. ``scores_real``: the accuracy of the whole training set, in per cent, where it is known. ``to``: the table's
    path without its ending; None: beside the first set.
    """

    synthetic: Annotated[list[PathText], Field(min_length=1)]
    networks: Annotated[list[str | dict[str, Any]], Field(min_length=1)] | None
    maker: Annotated[str, AfterValidator(_maker)] | None
    scores: Annotated[bool, Field(strict=True)]
    scores_real: Annotated[float, Field(strict=True, ge=0, le=100)] | None
    to: PathText | None


OWN = tuple(each.name for each in fields(EvaluationSettings))


@dataclass(frozen=True)
class Request:
    """An evaluation as a user asked for it, checked as far as no set is needed.

    Attributes:
        own: what only an evaluation has.
        given: every setting, as composed without a look at a set.
        words: what was typed.
        compose: the settings of a run for other words.
    """

    own: EvaluationSettings
    given: Mapping[str, Any]
    words: Sequence[str]
    compose: Compose

    @cached_property
    def run(self) -> Settings:
        """The settings of a run without a look at a set: seed, device, folders and engine are the same for all."""
        return self.composed([], ("method", "recipe", "dataset", "network"))

    @cached_property
    def typed(self) -> dict[str, str]:
        """What was typed, by its dotted name: the last word of each."""
        found = [each for each in map(WORD.fullmatch, self.words) if each]
        return {each[1]: each[2] for each in found if each[1] not in SWEEPING}

    def below(self, group: str) -> list[str]:
        """The typed names of settings in a group: ``network.depth`` of ``network``."""
        return [name for name in self.typed if name.startswith(f"{group}.")]

    def composed(self, before: Sequence[str], leaving: Sequence[str] = ()) -> Settings:
        """The settings of a run for words of which the typed ones win.

        Args:
            leaving: names and groups that are taken as if nobody had typed them.

        Raises:
            SettingError: one line for the first that is wrong.
        """
        typed = [word for word in self.words if not among(_name(word), (*SWEEPING, *leaving))]
        return self.compose([*before, *typed])

    def without(self, names: Sequence[str]) -> "Request":
        """The request as if nobody had typed settings of these names and groups."""
        return replace(self, words=[word for word in self.words if not among(_name(word), names)])

    def value(self, name: str) -> str:
        """A setting that was typed, in an error."""
        return f"{name}={shown(_at(self.given, name, self.typed[name]))}"


def read_evaluation(given: Mapping[str, Any], words: Sequence[str], compose: Compose) -> Request:
    """Check what was asked for, as far as no set is needed; one set or network may be given without brackets.

    Args:
        given: the composed config.
        words: what made it.

    Raises:
        SettingError: one line for the first setting that is wrong, or would be ignored.
    """
    found = {name: given.get(name) for name in OWN if name in given}
    for name in ("synthetic", "networks"):
        if isinstance(found.get(name), str | dict):
            found[name] = [found[name]]
    own = EvaluationSettings(**checked(EvaluationSettings, found, ""))
    for network in own.networks or ():
        own_of(NETWORKS, {"name": network} if isinstance(network, str) else network, "networks")
    request = Request(own, given, words, compose)
    for word in words:
        if word.startswith("~"):
            raise SettingError(f"{word}: an evaluation leaves no part of its settings out; remove it")
    for name in request.typed:
        _refuse_unread(name, request)
    return request


def _refuse_unread(name: str, request: Request) -> None:
    """Refuse a setting of a run that changes no evaluation."""
    group = name.partition(".")[0]
    read = group in (*OWN, *READ) and not among(name, UNREAD)
    if group == "method":
        read = name == group or among(name, OF_METHOD)
    if not read and name not in TEACHERS:
        raise SettingError(
            f"{request.value(name)}: changes no evaluation, which reads {', '.join((*OWN, *READ))}; remove it"
        )


def _name(word: str) -> str:
    return word.lstrip("+").partition("=")[0]


def _at(settings: Mapping[str, Any], name: str, otherwise: Any) -> Any:
    """The value of a dotted name; of a group its choice."""
    found: Any = settings
    for key in name.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return otherwise
        found = found[key]
    return found.get("name", otherwise) if isinstance(found, Mapping) else found
