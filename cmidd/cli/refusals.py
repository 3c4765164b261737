"""What Hydra refuses, in one line of ours that names the setting, the value and the way out."""

import contextlib
import difflib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException, SearchPathException
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from cmidd.cli.configs import CONFIGS, groups, options
from cmidd.cli.words import NEEDED
from cmidd.utils.errors import SettingError

# Groups whose options lie beside the other settings: they are chosen by name, and no setting is called so.
AT_THE_TOP = ("recipe", "regularizer")
SEVERAL = ("cmi", "evaluation")  # No other choice goes by their names, so Hydra takes a list of them.
NO_NAME = re.compile(r"\[.*\]|[-+.\d][-+.\de]*|true|false|null|", re.IGNORECASE)
latest: list[DictConfig] = []
"""What Hydra composed last, as it was when the words were applied: an unknown one is compared with its settings."""


def remember_compositions() -> None:
    """Keep what Hydra composes in :data:`latest`."""
    apply = ConfigLoaderImpl._apply_overrides_to_config
    if apply.__module__ == __name__:  # done before
        return

    def applied(overrides: list[Override], cfg: DictConfig) -> None:
        latest[:] = [cfg]
        apply(overrides, cfg)

    ConfigLoaderImpl._apply_overrides_to_config = staticmethod(applied)  # type: ignore[method-assign]


def one_line(error: BaseException) -> str:
    """The cause's message without line breaks; a missing config lists what there is, and an error of the system says
    what to do about it.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        there_are = error.options or options(group)
        return f"{group or '--config-name'}={name}: unknown; choose one of {', '.join(sorted(there_are))}"
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    text = " ".join(str(error).split())
    if isinstance(error, HydraException):
        for pattern, say in SAID.items():
            if found := pattern.search(text):
                return say(found[1])
    if isinstance(error, SearchPathException):
        return f"--config-dir: {text}; give a folder of configs"
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        return f"{text}: {str(error.__cause__).splitlines()[0]}; check how its value is written"
    if isinstance(error, MissingMandatoryValue) and error.full_key:
        return f"{error.full_key}: missing; give {error.full_key}=..."
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {str(error).splitlines()[0]}; check how its value is written"
    if isinstance(error, OSError):
        what = f"{error.filename}: {_dangling(error) or error.strerror}" if error.filename else error
        return f"{what} -- what was done before is kept: make room or repair it, and start again"
    return text


def _dangling(error: OSError) -> str | None:
    """What is wrong with a link, as to a scratch disk that was emptied, of which the system says that it exists."""
    path = Path(str(error.filename))
    if not isinstance(error, FileExistsError) or not path.is_symlink() or path.exists():
        return None
    return f"a link to {path.readlink()}, where nothing is"


def _unreadable(word: str) -> str:
    name, equals, value = word.partition("=")
    if not equals:
        return _half(word)
    bare = value.replace("'", "")
    return (
        f"{word}: cannot be read; put a value with blanks, brackets, commas or quotes in quotes that the shell leaves "
        f"alone, \"{name}='{bare}'\", and close every bracket"
    )


def _half(word: str) -> str:
    """Of a word without its equals sign: a name, or a value."""
    meant = [f"{group}={word}" for group in NEEDED if word in options(group)]
    if meant:
        return f"{word}: a value without its setting; give {meant[0]}"
    if re.search(r"[/:\\]", word) or os.path.exists(word):
        return f"{word}: a value without its setting; give <setting>={word}, --help says which settings there are"
    return f"{word}: a setting without a value; give {word}=<value>, without blanks around the sign"


def refuse_no_names(words: list[str]) -> None:
    """Refuse words of a run that choose in a group what is no name, as ``cmi=0.1``: Hydra's messages name none of them.

    Raises:
        SettingError: for the first.
    """
    for word in words:
        group, equals, value = word.lstrip("+").partition("=")
        if group not in NEEDED or not equals or not NO_NAME.fullmatch(value):
            continue
        if group in SEVERAL and {each.strip() for each in value[1:-1].split(",")} <= {*options(group)}:
            continue
        hint = f", or give the weight, cmi.lambda={value}" if group == "cmi" and value[:1].isdigit() else ""
        raise SettingError(f"{word}: chooses one by its name; choose one of {', '.join(options(group))}{hint}")


def _ambiguous(word: str) -> str:
    name, _, value = word.partition("=")
    listed = "" if name in NEEDED else f", or {name}=[{value}] for a list"
    return f"{word}: several values; use --multirun for a run with each of them{listed}"


def _repeated(group: str) -> str:
    return f"+{group}: is chosen already; use {group}=<name>, without the +"


def _no_group(word: str) -> str:
    there_are = [group for group in groups() if group != "recipe"]
    return f"{word}: there is no such group of configs; choose one of {', '.join(there_are)}"


def _not_chosen(group: str) -> str:
    if group not in groups():
        return _unknown(group)
    return f"{group}: nothing is chosen there yet; give +{group}=<name>, one of {', '.join(options(group))}"


def _nothing_chosen(group: str) -> str:
    return f"~{group}: nothing is chosen there; leave the word out"


def _nothing_to_take(name: str) -> str:
    return f"~{name}: it is null already; leave the word out" if name in _settings_beside(name) else _unknown(name)


def _another_value(said: str) -> str:
    name, _, values = said.partition("' is ")
    now, _, typed = values.rpartition(" and not ")
    return f"~{name}={typed}: {name} is {now}, so nothing is taken away; give {name}={typed} to set it"


def _settings_beside(name: str) -> list[str]:
    """The dotted names of all settings, of Hydra's where ``name`` is one of them."""
    known: Any = OmegaConf.to_container(latest[0], resolve=False) if latest else {}
    return list(_dotted({key: known[key] for key in known if (key == "hydra") == name.startswith("hydra.")}))


def _unknown(name: str) -> str:
    """What is said of a setting that there is not: what was meant, or what there is beside it."""
    there_are = _settings_beside(name)
    if "method.name" in there_are:  # The settings of a run.
        there_are += AT_THE_TOP
    last = name.rpartition(".")[2]
    alike = [known for known in there_are if known.rpartition(".")[2] == last]
    alike = alike or difflib.get_close_matches(name, there_are, n=1, cutoff=0.8)
    alike = alike or [
        known for known in there_are if difflib.get_close_matches(last, [known.rpartition(".")[2]], cutoff=0.75)
    ]
    above = name.rpartition(".")[0]
    alike = [known for known in alike if known.startswith(f"{above}.")] or alike
    beside = [known.rpartition(".")[2] for known in there_are if known.rpartition(".")[0] == above]
    hint = f"did you mean {' or '.join(alike[:3])}?" if alike else "choose one that is"
    there = f"known in {above}" if above else "known"
    return f"{name}: unknown setting; {hint} {there}: {', '.join(sorted(beside)) or 'none'}"


def _dotted(config: Any, above: str = "") -> Iterator[str]:
    """The dotted names of nested settings, those that hold others too."""
    for key, value in config.items() if isinstance(config, dict) else ():
        yield f"{above}{key}"
        yield from _dotted(value, f"{above}{key}.")


@contextlib.contextmanager
def fresh_hydra(folder: Path = CONFIGS) -> Iterator[None]:
    """Hydra as in a new process, for a composition beside the one that goes on."""
    backup = get_gh_backup()
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(folder), version_base="1.3"):
            yield
    finally:
        restore_gh_from_backup(backup)


# How Hydra says what it does not take; it advises to add what it does not know.
SAID: dict[re.Pattern[str], Callable[[str], str]] = {
    re.compile(r"Could not delete '([^']+)'\. No match in the defaults list"): _nothing_chosen,
    re.compile(r"Could not override '([^']+)'\. No match in the defaults list"): _not_chosen,
    re.compile(r"Could not (?:override|append|delete) '([^']+)'"): _unknown,
    re.compile(r"Could not delete from config\. '([^']+)' does not exist"): _nothing_to_take,
    re.compile(r"Could not delete from config\. The value of '(.+)\.$"): _another_value,
    re.compile(r"Override (\S+) looks like a config group override"): _no_group,
    re.compile(r"Ambiguous value for argument '(.+?)' 1\. To use"): _ambiguous,
    re.compile(r"^(\S+) appears more than once in the final defaults list"): _repeated,
}
