"""Settings composed from ``configs/``: the resolvers that recipes use, and errors of one line."""

import contextlib
import difflib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, SearchPathException
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from omegaconf import DictConfig, Node, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from cmidd.cli.allowed_targets import check_all_configs
from cmidd.runs.identity import strength
from cmidd.utils.errors import SettingError
from cmidd.utils.plugins import names

if TYPE_CHECKING:
    from cmidd.runs.settings import Settings

log = logging.getLogger(__name__)
CONFIGS = Path(__file__).parents[2] / "configs"
# How Hydra says that there is no such setting, or no such group; it advises to add what it does not know.
COULD_NOT = re.compile(r"Could not (?:override|append|delete) '([^']+)'")
# What others refer to of a data set that has no file in configs/dataset: DSA's strategy, and CMI's teacher.
DATASET = {"augment": "color_crop_cutout_flip_scale_rotate", "teacher": "convnet"}

notes: list[str] = []
"""What resolvers have to say of the values that they chose; :func:`say_notes` says it once a config is found sound."""


def say_notes() -> None:
    """Log every note once."""
    for note in dict.fromkeys(notes):
        log.warning("%s", note)
    notes.clear()


def _note(node: Node, text: str) -> None:
    """Note what was chosen for the setting of a node."""
    notes.append(f"{node._get_full_key(None)}: {text}")


def by_ipc(ipc: int, table: Any, *, _node_: Node) -> Any:
    """The published value for ``ipc``, else that of the nearest listed ipc (which is noted)."""
    table = dict(table)
    if ipc in table or not isinstance(ipc, int):
        return table.get(ipc)
    nearest = min(table, key=lambda listed: abs(listed - ipc))
    _note(_node_, f"none published for ipc={ipc}; that of ipc={nearest}, {table[nearest]}, is used")
    return table[nearest]


def by_name(name: str, table: Any, *, _node_: Node) -> Any:
    """The value for a method or data set, else the first that is listed (which is noted)."""
    table = dict(table)
    if name in table:
        return table[name]
    first = next(iter(table))
    _note(_node_, f"none published for {name}; that of {first}, {table[first]}, is used")
    return table[first]


def with_term(name: str, value: Any, otherwise: Any, *, _root_: DictConfig, _node_: Node) -> Any:
    """``value`` for runs with CMI or another regulariser at a weight above 0 or a ratio, else ``otherwise``."""
    term = OmegaConf.select(_root_, name)
    if not isinstance(term, DictConfig):
        return otherwise
    weight = term.get("lambda")
    if weight is None:
        weight = term.get("ratio")
    if weight is None:
        weight = term.get("default", term.get("fallback"))
    if weight is None or weight == 0:
        return otherwise
    _note(_node_, f"with {name} the recipe says {value}, without {otherwise}")
    return value


def first(roots: Any) -> Any:
    """The first of several folders, or the only one."""
    return next(iter(roots), "") if isinstance(roots, Sequence) and not isinstance(roots, str) else roots


def _gpu_count() -> int:
    import torch

    return max(1, torch.cuda.device_count())


def _unknown(name: str) -> str:
    """What is said of a setting that there is not: what was meant, or what there is beside it."""
    with _fresh_hydra():
        there_are = list(_dotted(OmegaConf.to_container(hydra.compose("distill"), resolve=False)))
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
def _fresh_hydra() -> Iterator[None]:
    """Hydra as in a new process, for a composition beside the one that goes on."""
    backup = get_gh_backup()
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            yield
    finally:
        restore_gh_from_backup(backup)


def prepare() -> None:
    """Have Hydra know the resolvers, and every plug-in by its name; none is imported."""
    resolvers: dict[str, Callable[..., Any]] = {
        "gpu_count": _gpu_count,
        "pool_size": lambda given, size: size if given is None else None,
        "by_ipc": by_ipc,
        "by_name": by_name,
        "with_term": with_term,
        "first": first,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True, use_cache=False)
    rooms = {"method": "methods", "network": "networks", "sampler": "samplers", "schedule": "schedules"}
    for group, room in rooms.items():
        for name in names(f"cmidd.{room}"):
            _store(group, name, {"name": name})
    for name in names("cmidd.methods"):
        _store("evaluation", name, {"defaults": ["default", "_self_"]})
    for name in names("cmidd.data.sets", "cmidd.datasets"):
        _store("dataset", name, {"name": name, **DATASET})
    for name in names("cmidd.regularizers"):
        own = {"lambda": None, "ratio": None, "default": None}
        _store("regularizer", name, {name: OmegaConf.create(own, flags={"struct": False})}, "_global_")


def _store(group: str, name: str, node: dict[str, Any], package: str | None = None) -> None:
    """Register a plug-in that has no file in ``configs/``; any setting may be given, and is checked by its class."""
    if not (CONFIGS / group / f"{name}.yaml").exists():
        config = OmegaConf.create(node, flags=None if package else {"struct": False})
        ConfigStore.instance().store(name, config, group, package)


def compose(overrides: list[str], *, is_run: bool = True) -> "Settings":
    """The settings that ``distill.py`` would have for ``overrides``.

    Args:
        is_run: as for :func:`cmidd.runs.read_settings.read_settings`.

    Raises:
        SettingError: one line for the first that is wrong.
    """
    from cmidd.runs.read_settings import read_settings

    try:
        with _fresh_hydra():
            return read_settings(as_dict(hydra.compose("distill", overrides)), is_run=is_run)
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingError(one_line(error)) from error
    finally:
        notes.clear()  # A composition beside the run that is going on has its own values.


def recipe_strength(method: str, dataset: str, ipc: int) -> str:
    """The weight or ratio of CMI that ``cmi=recipe`` gives, which the sweeps use
    (:func:`cmidd.runs.identity.strength`).
    """
    return strength(vars(compose([f"method={method}", f"dataset={dataset}", f"ipc={ipc}", "cmi=recipe"]).cmi))


def as_dict(config: DictConfig) -> dict[str, Any]:
    """A config as nested dictionaries, resolved."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def one_line(error: BaseException) -> str:
    """The cause's message without line breaks; a missing config lists what there is, and an error of the system says
    what to do about it.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        options = error.options or [path.stem for path in (CONFIGS / group).glob("*.yaml")]
        return f"{group or '--config-name'}={name}: unknown; choose one of {', '.join(sorted(options))}"
    if isinstance(error, HydraException) and (unknown := COULD_NOT.search(str(error))):
        return _unknown(unknown[1])
    if isinstance(error, SearchPathException):
        return f"--config-dir: {error}; give a folder of configs"
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        return f"{' '.join(str(error).split())}: {str(error.__cause__).splitlines()[0]}; check how its value is written"
    if isinstance(error, MissingMandatoryValue) and error.full_key:
        return f"{error.full_key}: missing; give {error.full_key}=..."
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {str(error).splitlines()[0]}; check how its value is written"
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else error
        return f"{what} -- what was done before is kept: make room or repair it, and start again"
    return " ".join(str(error).split())


check_all_configs()
prepare()
