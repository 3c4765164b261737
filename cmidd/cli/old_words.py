"""Words of ``cmidd evaluate`` that are not those of a run: the earlier ones, and makers of others' sets."""

import re

from cmidd.synthetic.makers import MAKERS
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
    """The words with settings under the names that they have for a run; ``method=tesla``, whose sets are read and which
    is no method here, becomes the method whose recipes are nearest, and ``maker=tesla``.

    Raises:
        SettingError: for several networks, or one with settings, under the name of the group.
    """
    return [new for word in words for new in _made_by(_renamed(word))]


def _made_by(word: str) -> list[str]:
    name, _, value = word.partition("=")
    if name == "method" and value in MAKERS and MAKERS[value].method != value:
        return [f"method={MAKERS[value].method}", f"maker={value}"]
    return [word]


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
