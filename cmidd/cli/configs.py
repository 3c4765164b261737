"""The folder of configs, read without Hydra: its groups, their options, and what comments say of settings.

It lies beside the package in a checkout, and within it where a wheel is installed. For help, completion and refusals,
which answer before anything is imported that takes long.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cmidd.utils.plugins import PACKAGE, names

CONFIGS = next(folder for folder in (PACKAGE / "configs", PACKAGE.parent / "configs") if folder.is_dir())
# Whose options are plug-ins as well, and the room of these; data sets have a group of entry points of another name.
ROOMS = {
    "method": ("cmidd.methods", None),
    "network": ("cmidd.networks", None),
    "sampler": ("cmidd.samplers", None),
    "schedule": ("cmidd.schedules", None),
    "regularizer": ("cmidd.regularizers", None),
    "dataset": ("cmidd.data.sets", "cmidd.datasets"),
}
# No group that a user chooses from: settings of the other commands, and published values by method and data set.
APART = ("command",)
PAPERS = "table1"  # The paper's own table goes before others that have its data sets.
LINE = re.compile(r"(?P<indent> *)(?P<default>- )?(?P<name>[\w/ ]+): *(?P<value>[^#]*?) *(?:# (?P<about>.*))?")


@dataclass(frozen=True)
class Described:
    """A setting: its dotted name, its default as it is written, and what the comment behind it says."""

    name: str
    default: str
    about: str


def groups() -> list[str]:
    """The groups of configs that a run is put together from."""
    return sorted(path.name for path in CONFIGS.iterdir() if path.is_dir() and path.name not in APART)


def options(group: str) -> list[str]:
    """What may be chosen in a group: its files, and the plug-ins of that kind."""
    files = {path.stem for path in (CONFIGS / group).glob("*.yaml")}
    return sorted(files | (names(*ROOMS[group]) if group in ROOMS else set()))


def tables() -> list[Path]:
    """The layouts of tables, the paper's first, the others by name."""
    found = (CONFIGS / "command" / "table").glob("*.yaml")
    return sorted(found, key=lambda path: (path.stem != PAPERS, path.stem))


def described(path: Path, prefix: str = "") -> Iterator[Described]:
    """Every setting of a config file in order, and every group of its defaults; ``about`` is empty without a comment.

    Args:
        prefix: what the file's names are below, ``cmi.``.
    """
    above: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not (found := LINE.fullmatch(line)) or found["name"] == "defaults":
            continue
        indent = len(found["indent"])
        above = [] if found["default"] else [level for level in above if level[0] < indent]
        if found["default"] and " " in found["name"]:  # optional, override
            continue
        name = ".".join([*(each for _, each in above), found["name"]])
        yield Described(f"{prefix}{name}", found["value"].strip(), found["about"] or "")
        above.append((indent, found["name"]))


def settings_of(command: str) -> dict[str, Described]:
    """The settings of a command by name: those of its own config, and of the options that its defaults choose."""
    own = CONFIGS / "command" / f"{command}.yaml"
    if own.exists():
        return {each.name: each for each in described(own)}
    beside = CONFIGS / f"{command}.yaml"  # What a command has beside the settings of a run.
    found = {each.name: each for each in described(beside)} if beside.exists() else {}
    found |= {each.name: each for each in described(CONFIGS / "distill.yaml")}
    for group in [name for name in found if (CONFIGS / name).is_dir()]:
        chosen = found[group].default
        for option in ("default", "mtt") if chosen == "${method}" else (chosen,):
            if (path := CONFIGS / group / f"{option}.yaml").exists():
                found |= {each.name: each for each in described(path, f"{group}.") if each.name not in found}
    return found
