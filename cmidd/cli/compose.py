"""Settings composed from ``configs/``, and the resolvers that recipes use."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, Node, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from cmidd.cli.allowed_targets import check_all_configs
from cmidd.cli.configs import CONFIGS, described, options
from cmidd.cli.refusals import fresh_hydra, one_line, remember_compositions
from cmidd.cli.told_plugins import tell_plugins
from cmidd.runs.identity import strength
from cmidd.utils.errors import SettingError

if TYPE_CHECKING:
    from cmidd.runs.settings import Settings

log = logging.getLogger(__name__)
OWN_WEIGHT = "cmi.own"

notes: list[str] = []
"""What resolvers have to say of the values that they chose; :func:`say_notes` says it once a config is found sound."""


def say_notes() -> None:
    """Log every note once."""
    for note in dict.fromkeys(notes):
        log.warning("%s", note)
    notes.clear()


def by_ipc(ipc: int, table: Any, *, _root_: DictConfig, _node_: Node) -> Any:
    """The published value for ``ipc``, else that of the nearest listed ipc (which is noted)."""
    table = dict(table)
    if ipc in table or not isinstance(ipc, int):
        return table.get(ipc)
    nearest = min(table, key=lambda listed: abs(listed - ipc))
    name, where = _node_._get_full_key(None), f"{_root_.dataset.name} at ipc={ipc}"
    if not name.startswith("evaluation."):  # A protocol may be another method's.
        where = f"{_root_.method.name} on {where}"
    if name != OWN_WEIGHT:
        notes.append(f"{name}: none published for {where}; that of ipc={nearest}, {table[nearest]}, is used")
    elif _takes_own_weight(_root_.cmi):
        notes.append(f"cmi.lambda: none published for {where}; the recipe's {table[nearest]} is used")
    return table[nearest]


def _takes_own_weight(cmi: DictConfig) -> bool:
    """Whether the recipe's own weight of CMI is asked for, where none is published."""
    given = cmi.get("lambda")
    return cmi.get("ratio") is None and (cmi.get("fallback") if given is None else given) == "recipe"


def by_name(name: str, table: Any, *, _parent_: DictConfig, _node_: Node) -> Any:
    """The value for a method or data set, else the first that is listed (which is noted)."""
    table = dict(table)
    if name in table:
        return table[name]
    first = next(iter(table))
    above, _, key = _node_._get_full_key(None).rpartition(".")
    if key == "default":  # the weight where none is given
        key = "lambda"
    if key != "lambda" or (_parent_.get("lambda"), _parent_.get("ratio")) == (None, None):
        notes.append(f"{above}.{key}: none published for {name}; that of {first}, {table[first]}, is used")
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
    notes.append(f"{_node_._get_full_key(None)}: with {name} the recipe says {value}, without {otherwise}")
    return value


def as_matched(method: str, name: str, otherwise: Any, *, _root_: DictConfig) -> Any:
    """What a method augments with when it matches, in the protocol of its name; ``otherwise`` for other methods, which
    may be evaluated by that protocol as well.
    """
    return _root_.method.augment.get(name, otherwise) if _root_.method.name == method else otherwise


def where(found: Any, wanted: Any, value: Any, otherwise: Any) -> Any:
    """``value`` where a setting, or a list of several, is what is ``wanted``, else ``otherwise``."""
    return value if found == wanted else otherwise


def on_imagenet(value: Any, otherwise: Any, *, _root_: DictConfig) -> Any:
    """``value`` for ImageNet's subsets, ``otherwise`` for smaller images, as protocols distinguish."""
    return value if _root_.dataset.name.startswith("image") else otherwise


def for_own_images(value: Any, published: Any, *, _root_: DictConfig, _node_: Node) -> Any:
    """``value`` in a recipe for images of one's own (configs/recipe/own_images.yaml), beside what is published."""
    name = _node_._get_full_key(None)
    notes.append(
        f"{name}: {value} for dataset={_root_.dataset.name}, sized for classes of some hundred images; "
        f"{name}={published} is the published number"
    )
    return value


def first(roots: Any) -> Any:
    """The first of several folders, or the only one."""
    return next(iter(roots), "") if isinstance(roots, Sequence) and not isinstance(roots, str) else roots


def _gpu_count() -> int:
    import torch

    return max(1, torch.cuda.device_count())


def without(strategy: Any, name: str) -> Any:
    """A strategy of augmentation without one of its operations; what is none is refused where it is read."""
    if not isinstance(strategy, str):
        return strategy
    return "_".join(each for each in strategy.split("_") if each != name) or "none"


def prepare() -> None:
    """Have Hydra know the resolvers."""
    resolvers: dict[str, Callable[..., Any]] = {
        "gpu_count": _gpu_count,
        "pool_size": lambda given, size: size if given is None else None,
        "by_ipc": by_ipc,
        "by_name": by_name,
        "with_term": with_term,
        "as_matched": as_matched,
        "where": where,
        "on_imagenet": on_imagenet,
        "for_own_images": for_own_images,
        "first": first,
        "without": without,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True, use_cache=False)


def compose(overrides: list[str], *, is_run: bool = True) -> "Settings":
    """The settings that ``distill.py`` would have for ``overrides``.

    Args:
        is_run: as for :func:`cmidd.runs.read_settings.read_settings`.

    Raises:
        SettingError: one line for the first that is wrong.
    """
    return _composed(overrides, "distill", (), is_run=is_run)


def compose_evaluation(overrides: list[str]) -> "Settings":
    """The settings of a run that ``evaluate.py`` would have for ``overrides``, without its own.

    Raises:
        SettingError: one line for the first that is wrong.
    """
    own = [each.name for each in described(CONFIGS / "evaluate.yaml")]
    return _composed(overrides, "evaluate", own, is_run=False)


def _composed(overrides: list[str], config_name: str, without: Sequence[str], *, is_run: bool) -> "Settings":
    from cmidd.runs.read_settings import read_settings

    try:
        found = composition(overrides, config_name).settings
        return read_settings({key: value for key, value in found.items() if key not in without}, is_run=is_run)
    finally:
        notes.clear()  # A composition beside the run that is going on has its own values.


@dataclass(frozen=True)
class Composition:
    """A config that was put together.

    Attributes:
        config: of the command, without Hydra's own part.
        settings: the same as nested dictionaries, resolved.
        words: that made it, as Hydra reads them.
        choices: what was chosen in each group.
    """

    config: DictConfig
    settings: dict[str, Any]
    words: list[str]
    choices: dict[str, str]


def composition(overrides: list[str], config_name: str = "distill", folder: Path = CONFIGS) -> Composition:
    """What Hydra makes of ``overrides``, without a Hydra application.

    Raises:
        SettingError: one line for what it does not take.
    """
    try:
        with fresh_hydra(folder):
            config = hydra.compose(config_name, overrides, return_hydra_config=True)
            own = config.hydra
            with read_write(config), open_dict(config):
                del config["hydra"]
            return of(config, own)
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingError(one_line(error)) from error


def of(config: DictConfig, own: Any) -> Composition:
    """The composition of a config without Hydra's own part, which is ``own``.

    Raises:
        SettingError: when a recipe is asked for by a name that there is not; to Hydra every recipe is optional.
    """
    settings, words = as_dict(config), list(own.overrides.task)
    for group, name in (word.split("=", 1) for word in words if word.startswith(("recipe=", "recipe/"))):
        if name not in options(group):
            raise SettingError(f"{group}={name}: unknown; choose one of {', '.join(options(group))}")
    return Composition(config, settings, words, dict(own.runtime.choices))


def recipe_strength(method: str, dataset: str, ipc: int) -> str:
    """The weight or ratio of CMI that ``cmi=recipe`` gives, for sweeps (:func:`cmidd.runs.identity.strength`)."""
    return strength(vars(compose([f"method={method}", f"dataset={dataset}", f"ipc={ipc}", "cmi=recipe"]).cmi))


def as_dict(config: DictConfig) -> dict[str, Any]:
    """A config as nested dictionaries, resolved."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


check_all_configs()
remember_compositions()
prepare()
tell_plugins()
