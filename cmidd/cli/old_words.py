"""Words of ``cmidd evaluate`` from before it took those of a run, and what they are now."""

import re

from cmidd.utils.errors import SettingError

# A grid's factor belongs to methods of which some have none by themselves: it is added where it is not there.
RENAMED = {
    "repeats": "evaluation.repeats",
    "zca": "dataset.zca",
    "statistics": "dataset.statistics",
    "factor": "++method.formation.factor",
}
TRAINING = "training."
WORD = re.compile(r"(\+{0,2})([A-Za-z_][\w.]*)=(.*)", re.DOTALL)


def as_of_a_run(words: list[str]) -> list[str]:
    """The words with settings under the names that they have for a run.

    Raises:
        SettingError: for several networks, or one with settings, under the name of the group.
    """
    return [_renamed(word) for word in words]


def _renamed(word: str) -> str:
    if not (found := WORD.fullmatch(word)):
        return word
    plus, name, value = found.groups()
    if name == "network" and value[:1] in ("[", "{"):
        several = value if value[0] == "[" else f"[{value}]"
        raise SettingError(f"network={value}: chooses one network by its name; give networks={several}")
    if name in RENAMED:
        return f"{RENAMED[name]}={value}"
    if name.startswith(TRAINING):
        return f"{'++' if plus else ''}evaluation.{name}={value}"
    return word
