"""The help of the commands: what each does, examples, and its settings as the comments in ``configs/`` say them.

A command's own file says what it does and gives the examples; it is read, not imported.
"""

import ast
import re
import textwrap
from pathlib import Path

from cmidd.cli.commands import COMMANDS, OF_A_RUN
from cmidd.cli.configs import CONFIGS, ROOMS, groups, options, settings_of
from cmidd.utils.text import command_line

WIDTH = 110
WHAT = ("method", "dataset", "ipc", "seed", "network")
WHERE = ("data.root", "results_root", "buffers_root", "device")
TEACHERS = ("cmi.teacher", "cmi.pool", "cmi.epochs")
EXPERTS = ("method.experts.count", "method.experts.training.epochs")
MEASURED = ("evaluation.repeats", "evaluation.baselines")
# What people set, by command; of a command that is not here everything that its config describes.
SHOWN = {
    "distill": (
        *WHAT,
        *("cmi", "cmi.lambda", "cmi.ratio", *TEACHERS),
        *("regularizer", "sampler", "schedule", "dataset.validation", "method.iterations"),
        *(*MEASURED, "evaluation.interval", "engine.precision", "engine.compile"),
        *WHERE,
        *("tracking", "dry_run", "prepare", "overwrite"),
    ),
    "evaluate": (
        *("synthetic", "networks", "network", "evaluation", "evaluation.repeats", "evaluation.tests"),
        *("evaluation.selection", "method", "dataset", "dataset.zca", "dataset.statistics", *TEACHERS),
        *("scores", "scores_real", "to", "seed", "data.root", "buffers_root", "device"),
    ),
    "buffer": (*WHAT, *EXPERTS, *WHERE),
    "teachers": ("dataset", "seed", *TEACHERS, "regularizer", *WHERE),
    "baselines": (*WHAT, *MEASURED, "evaluation.features.networks", "evaluation.features.epochs", *WHERE),
}
OPTIONS = """\
--help=all       also the groups of settings, with all choices of each
--cfg job        every setting with its value, nothing is run; with --resolve as numbers
-m               a run for each of several values: -m seed=0,1,2 cmi.lambda=0,1
--version        the versions of cmidd and torch"""


def overview() -> str:
    """The help of ``cmidd`` itself."""
    lines = [f"  {name:<11} {_documented(name)[0]}" for name in COMMANDS]
    return "\n".join(
        [
            "cmidd: dataset distillation with class-aware conditional mutual information",
            "",
            "usage: cmidd <command> [name=value ...]",
            "",
            *lines,
            f"  {'completion':<11} Print the script that completes commands and settings in bash, zsh or fish.",
            "",
            "cmidd <command> --help says what a command does, with examples and settings; cmidd --version the version.",
            "Start with: cmidd distill method=mtt +cmi.lambda=0.1",
        ]
    )


def page(command: str, *, everything: bool = False) -> str:
    """The help of a command.

    Args:
        everything: with the groups of configs, and what can be chosen in each.
    """
    summary, text, examples = _documented(command)
    own = command_line(command)
    wanted = " RUN FOLDER [format=...] [labels=hard]" if command == "export" else " [name=value ...]"
    parts = [f"usage: {own}{wanted}", f"{summary}\n\n{text}".rstrip(), f"Examples:\n{examples}"]
    if command == "export":
        return "\n\n".join(parts)
    parts.append(f"Settings that people use, with their defaults:\n{_settings(command)}")
    if everything and command in OF_A_RUN:
        chosen = [(group, ", ".join(options(group))) for group in groups()]
        parts.append(f"Groups, and what can be chosen in each:\n{_columns(chosen)}")
    parts.append(f"Options:\n{textwrap.indent(OPTIONS, '  ')}")
    parts.append(f"All settings are in {CONFIGS}, with comments; docs/settings.md explains them.")
    if command in OF_A_RUN:
        parts[-1] += "\nPublished values by method and data set, in configs/recipe, override these defaults."
    return "\n\n".join(parts)


def _documented(command: str) -> tuple[str, str, str]:
    """What a command's file says: its first line, the rest of the text, and the examples as they are typed here."""
    source = Path(__file__).with_name("commands") / f"{command}.py"
    said = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    text, _, examples = said.partition("Examples:\n")
    summary, _, rest = text.partition("\n")
    typed = re.sub(r"cmidd (\w+)", lambda found: command_line(found[1]), textwrap.dedent(examples))
    lines = [line.split(" # ") for line in typed.splitlines()]
    width = max([len(line[0].rstrip()) for line in lines if len(line) > 1], default=0)
    shown = [f"  {line[0].rstrip():<{width}}  # {line[1]}" if len(line) > 1 else f"  {line[0]}" for line in lines]
    return summary, rest.strip(), "\n".join(shown)


def _settings(command: str) -> str:
    found = settings_of(command)
    names = SHOWN.get(command) or [name for name, each in found.items() if each.about]
    rows = []
    for name in names:
        if not (each := found.get(name)):
            continue
        about = each.about
        if command in SHOWN and name in (*ROOMS, "cmi", "evaluation"):
            about = f"{about}: {', '.join(options(name))}" if about else ", ".join(options(name))
        default = "" if each.default in ("???", "") or "${" in each.default else each.default
        rows.append((f"{name}={default}", about))
    return _columns(rows)


def _columns(rows: list[tuple[str, str]]) -> str:
    """Names and what is said of them, wrapped side by side."""
    left = min(30, max(len(name) for name, _ in rows))
    lines: list[str] = []
    for name, about in rows:
        wrapped = textwrap.wrap(about, WIDTH - left - 4) or [""]
        first = [f"  {name}"] if len(name) > left else []
        head = "" if first else name
        lines += [
            *first,
            f"  {head:<{left}}  {wrapped[0]}".rstrip(),
            *(f"{'':{left + 4}}{more}" for more in wrapped[1:]),
        ]
    return "\n".join(lines)
