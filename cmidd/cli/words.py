"""The words of a command line, made such that Hydra's grammar reads what the user meant."""

import argparse
import difflib
import re
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from hydra._internal.utils import get_args_parser
from hydra.conf import HydraConf
from hydra.core.override_parser.overrides_parser import OverridesParser

from cmidd.utils.errors import SettingError

# Settings that are files or folders, whose names may hold what Hydra's grammar has a meaning for.
PATHS = ("data.root", "results_root", "buffers_root", "cmi.teachers", "teachers", "synthetic", "to", "a", "b")
SETTING = re.compile(r"(\+{0,2})([^=@~+\s-][^=@\s]*)=(.*)", re.DOTALL)
PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
# What says where the runs of a sweep go, and nothing of them.
LAUNCHING = ("+launch=", "hydra/launcher=", "hydra.launcher.", "+hydra.launcher.", "++hydra.launcher.")
# What every run has one of: others refer to it.
NEEDED = ("dataset", "method", "network", "evaluation", "cmi", "sampler", "schedule")


def as_hydra_reads(words: list[str]) -> list[str]:
    """The words with the values of paths quoted, after what Hydra would misread or ignore was refused.

    Raises:
        SettingError: for an unknown option, ``--experimental-rerun`` (also shortened), an unknown setting of Hydra's
            own, and a group that every run needs and that is taken away.
    """
    if any(word.startswith("--e") for word in words):
        raise SettingError("--experimental-rerun: would unpickle a file, and so run it; give the settings instead")
    given = _parsed(words)
    overrides = [_quoted_path(word, sweeping=given.multirun) for word in given.overrides]
    for word in overrides:
        _refuse_unread(word)
    if any(word.lstrip("+") in ("dry_run=true", "dry_run=measure") for word in overrides):  # It needs no cluster.
        overrides = [word for word in overrides if not word.startswith(LAUNCHING)]
    options = [word for word in words if word not in given.overrides]
    return [*options, *overrides]


def refuse_options(words: list[str]) -> None:
    """Refuse options that Hydra ends in a traceback, or ignores and starts a run.

    Raises:
        SettingError: for two that ask for different things, and for one that needs another.
    """
    given = _parsed(words)
    asking = {
        "--run": given.run,
        "--multirun": given.multirun,
        "--cfg": given.cfg is not None,
        "--info": given.info is not None,
        "--shell-completion": given.shell_completion,
    }
    asked = [name for name, is_given in asking.items() if is_given]
    if len(asked) > 1 and not given.hydra_help:
        raise SettingError(f"{' and '.join(asked)}: each asks for something else; give one of them")
    shells = [word for word in given.overrides if word.startswith(("install=", "uninstall=", "query="))]
    if given.shell_completion and len(shells) != 1:
        raise SettingError(
            "--shell-completion: give install=<shell> or uninstall=<shell> with it; or use cmidd completion"
        )
    for name, value in (("--package", given.package), ("--resolve", given.resolve)):
        if value and given.cfg is None:
            raise SettingError(f"{name}: says how --cfg shows the settings; give --cfg job as well, or leave it out")


def take_hydras_help() -> None:
    """Have argparse check only help that is text: from Python 3.14 on it does so where an option is added, and fails at
    Hydra's, which makes its text when it is asked for (Hydra's issue 3121).
    """
    check = getattr(argparse.ArgumentParser, "_check_help", None)
    if check is None:
        return

    def check_text(self: argparse.ArgumentParser, action: argparse.Action) -> None:
        if isinstance(action.help, str):
            check(self, action)

    setattr(argparse.ArgumentParser, "_check_help", check_text)  # noqa: B010 (types know no such name)


def quoted(value: str) -> str:
    """A path as a text in Hydra's grammar, whatever it holds; nothing but backslashes has none."""
    if not value.strip("\\"):
        value = f"./{value}"
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", value) + "\\" * (len(value) - len(value.rstrip("\\"))) + "'"


def as_typed(word: str) -> str:
    """A word as its user wrote it, before :func:`as_hydra_reads` put a path in quotes."""
    matched = SETTING.fullmatch(word)
    if not matched or matched[2] not in PATHS or matched[3][:1] != "'" or matched[3][-1:] != "'":
        return word
    plus, name, value = matched.groups()
    bare = OverridesParser.create().parse_override(f"{name}={value}").value()
    return f"{plus}{name}={bare}" if isinstance(bare, str) else word


def _quoted_path(word: str, sweeping: bool) -> str:
    """A word with its value quoted, where that is a path that Hydra would read as something else.

    Left alone: a value that is quoted already, a list, an interpolation, and several of them in a sweep, unless it is
    the name of something that is there.
    """
    matched = SETTING.fullmatch(word)
    if not matched or matched[2] not in PATHS:
        return word
    plus, name, value = matched.groups()
    meant = value[:1] in "'\"" and value[-1:] == value[:1] and len(value) > 1
    meant = meant or (value[:1] == "[" and value[-1:] == "]") or "${" in value or value in ("", "null", "???")
    meant = meant or (sweeping and ("," in value or "(" in value))
    if PLAIN.fullmatch(value) or (meant and not (value and Path(value).expanduser().exists())):
        return word
    return f"{plus}{name}={quoted(value)}"


class _Parser(argparse.ArgumentParser):
    """Hydra's parser of options, which ends with a line of ours."""

    def error(self, message: str) -> NoReturn:
        options = [option for option in self._option_string_actions if option.startswith("--")]
        unknown = message.removeprefix("unrecognized arguments: ").split()[0] if "unrecognized" in message else ""
        if unknown.startswith("--") and "=" in unknown:
            raise SettingError(f"{unknown}: unknown option; give settings without dashes: {unknown.lstrip('-')}")
        close = difflib.get_close_matches(unknown, options, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        what = f"{unknown}: unknown option" if unknown else message
        raise SettingError(f"{what}; {hint}give settings as name=value; options: {', '.join(sorted(options))}")


def _parsed(words: list[str]) -> Any:
    """What Hydra's own parser makes of the words."""
    parser = get_args_parser()
    parser.__class__ = _Parser
    return parser.parse_intermixed_args(words)


def _refuse_unread(word: str) -> None:
    """Refuse what Hydra would take without a word and nothing would read, and what leaves a run without a part."""
    name = word.lstrip("+~").partition("=")[0]
    if word.startswith("~") and name in NEEDED:
        raise SettingError(f"~{name}: every run needs one; choose another by {name}=<name>")
    if word.startswith(("+hydra.", "++hydra.")) and (missing := _missing_in_hydra(name.split(".")[1:])):
        known = ", ".join(sorted(missing[1]))
        raise SettingError(f"{word}: Hydra has no setting {missing[0]} there; choose one of {known}")


def _missing_in_hydra(keys: list[str]) -> tuple[str, list[str]] | None:
    """The first key that Hydra's config does not have, with those that it has; what is open holds any."""
    kind: Any = HydraConf
    for key in keys:
        fields = getattr(kind, "__dataclass_fields__", None)
        if fields is None:
            return None
        if key not in fields:
            return key, list(fields)
        kind = get_type_hints(kind).get(key)
    return None


take_hydras_help()
