"""Reading the settings of a run from a composed config: everything is checked before any work."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from cmidd.buffers.teacher_files import find
from cmidd.core.method import Method
from cmidd.data.load import check_dataset
from cmidd.evaluation.protocols import EvaluationProtocol
from cmidd.loop.balance import Ratio
from cmidd.methods import METHODS
from cmidd.networks import NETWORKS, TORCHVISION
from cmidd.regularizers import REGULARIZERS
from cmidd.runs.identity import BY_ITSELF
from cmidd.runs.lambdas import cmi_strength, take_regularizers
from cmidd.runs.recipes import check_recipes
from cmidd.runs.settings import CMISettings, Settings
from cmidd.runs.tracking import chosen
from cmidd.samplers import SAMPLERS
from cmidd.schedules import SCHEDULES
from cmidd.synthetic.formation import Formation
from cmidd.utils.checking import checked, choose, keywords, known, mapping, own_of
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Count, NonNegative, PathText

# How an error calls what a method gives (Method.gives).
GIVEN = {"network": "the network it matches in", "real": "batches of real images"}
# What a data set's config says for others to refer to.
REFERRED_TO = ("augment", "teacher")
# What a data set's config says and no key of a cache named before there was it: left out at its default.
UNSAID = {"channels": None, "fill": "none"}


def read_settings(config: Mapping[str, Any], *, is_run: bool = True) -> Settings:
    """Check a resolved config.

    Args:
        is_run: whether it is to be run; a recipe that is only compared with need not fit the number of images.

    Raises:
        SettingError: one line for the first setting that is unknown, of the wrong type or out of range.
    """
    config = mapping(config, "config")
    method, common = _method(config)
    for name in (*common, "regularizers"):  # They are made from others, which would replace what is given here.
        if name in config:
            instead = "<name>.lambda of regularizer=[<name>]" if name == "regularizers" else f"method.{name}"
            raise SettingError(f"{name}: unknown setting; did you mean {instead}?")
    config.update(common)
    own_of(NETWORKS, mapping(config.get("network"), "network"), "network")
    dataset = mapping(config.get("dataset"), "dataset")
    config["dataset"] = {
        key: value
        for key, value in dataset.items()
        if key not in REFERRED_TO and (key not in UNSAID or value != UNSAID[key])
    }
    check_dataset(config["dataset"])
    config["regularizers"] = take_regularizers(config)
    own_of(SAMPLERS, mapping(config.get("sampler"), "sampler"), "sampler")
    own_of(SCHEDULES, mapping(config.get("schedule"), "schedule"), "schedule")
    name, schedule = config["method"]["name"], config["schedule"]["name"]
    if method.in_stages and schedule != BY_ITSELF["schedule"]:
        raise SettingError(
            f"schedule={schedule}: not with method={name}, for {method.in_stages}; use schedule={BY_ITSELF['schedule']}"
        )
    for regularizer in config["regularizers"]:
        _refuse_unmet("regularizer", regularizer, REGULARIZERS[regularizer].needs, method.gives, name)
    sampler = config["sampler"]["name"]
    _refuse_unmet("sampler", sampler, SAMPLERS[sampler].needs, method.gives, name)
    _refuse_idle_sampler(sampler, method.gives, common["init"], name)
    cmi = mapping(config.get("cmi"), "cmi")
    config["cmi"] = _cmi(cmi, name, config["dataset"]["name"], config.get("ipc"), config["formation"])
    if config["cmi"].get("input") == "reference":
        config["cmi"]["input"] = method.teacher_input
    settings = Settings(**checked(Settings, config, ""))
    if is_run:
        chosen(settings.tracking, settings.wandb)
        _refuse_beside_prepare(settings)
        _refuse_tests(settings.evaluation)
        _refuse_undecoded(settings.formation, method, name)
        _refuse_without_gradient(settings)
        check_recipes(settings)
        _refuse_sizes(settings)
        _refuse_spare_networks(settings.evaluation)
        for stage in range(len(settings.stage_sizes)):
            settings.arguments_in(stage)
    return settings


def _method(config: Mapping[str, Any]) -> tuple[type[Method], dict[str, Any]]:
    """The method, its settings checked, and what every method's config says."""
    given = mapping(config.get("method"), "method")
    kind: type[Method] = choose(METHODS, given.pop("name", None), "method")
    for key in given:
        known(key, {*keywords(kind), *(each.name for each in fields(Common))}, "method", kind)
    common = {each.name: given.pop(each.name) for each in fields(Common) if each.name in given}
    common = checked(Common, common, "method")
    del common["distinct"]  # It stays among the method's own.
    if "init" in keywords(kind):
        given["init"] = common["init"]
    elif common["init"] == "recognised":
        able = ", ".join(name for name in METHODS if "init" in keywords(METHODS[name]))
        raise SettingError(f"method.init=recognised: needs experts that classify images; use it with method={able}")
    checked(kind, given, "method")
    return kind, common


@dataclass(frozen=True)
class Common:
    """What ``configs/method/<name>.yaml`` says of every method.

    ``distinct``: no real image stands in two tiles of the grid that a set with a ``formation`` starts from.
    """

    iterations: Count = 1000
    formation: Formation = field(default_factory=Formation)
    init: Literal["real", "noise", "recognised"] = "real"
    distinct: bool = False


@dataclass(frozen=True)
class TeacherSources:
    """What a config says of teachers: ``teachers`` is a folder or file, a ``pool`` of null all that are in it."""

    teacher: str
    teachers: PathText | None = None
    pool: Count | None = None


@dataclass(frozen=True)
class WeightSources:
    """Where ``configs/cmi/<name>.yaml`` and recipes take the weight of CMI from when ``lambda`` is null."""

    fallback: Literal["paper", "recipe"] | None = None
    published: dict[int, NonNegative] | None = None
    own: NonNegative | Ratio | None = None


def _cmi(given: dict[str, Any], method: str, dataset: str, ipc: Any, formation: Formation) -> dict[str, Any]:
    """The settings of CMI with its resolved ``weight`` or ``ratio``."""
    names = {each.name for each in (*fields(WeightSources), *fields(CMISettings))}
    for key in given:
        known(key, {"lambda", *names} - {"weight"}, "cmi")
    value, ratio, alone = given.pop("lambda", None), given.pop("ratio", None), ipc == formation.tiles == 1
    sources = checked(
        WeightSources, {key: given.pop(key) for key in ("fallback", "published", "own") if key in given}, "cmi"
    )
    _find_teachers(given)
    return {**cmi_strength(value, ratio, **sources, method=method, dataset=dataset, ipc=ipc, alone=alone), **given}


def _find_teachers(given: dict[str, Any]) -> None:
    """Replace where the teachers are by their hash with it, and a ``pool`` of null by how many there are."""
    wanted = checked(
        TeacherSources, {key: given[key] for key in ("teacher", "teachers", "pool") if key in given}, "cmi"
    )
    if wanted["teachers"] is not None:
        given["teachers"], given["pool"] = find(wanted["teachers"], wanted["pool"])
    elif wanted["teacher"].startswith(TORCHVISION):
        raise SettingError(f"cmi.teacher={wanted['teacher']}: is not trained here; give cmi.teachers=<folder or file>")


def _refuse_without_gradient(settings: Settings) -> None:
    """Refuse a ratio for a term that is constant in the first stage."""
    images = settings.stage_sizes[0] * settings.formation.tiles
    for name, given in settings.terms.items():
        if given.get("ratio") is not None and images < REGULARIZERS[name].images_needed(given):
            when = "" if settings.stage_sizes == [settings.ipc] else " in the first stage"
            other = " or cmi.centroids=real" if name == "cmi" else ""
            raise SettingError(
                f"{name}.ratio={given['ratio']:g}: {name} has no gradient at one training image per class{when}, so no "
                f"weight gives it a ratio; choose a larger ipc{other}"
            )


def _refuse_sizes(settings: Settings) -> None:
    """Refuse a schedule whose stages do not have the images of the set among them."""
    sizes = settings.stage_sizes
    if any(not isinstance(size, int) or size < 1 for size in sizes) or sum(sizes) != settings.ipc:
        raise SettingError(
            f"schedule={settings.schedule['name']}: its sizes({settings.ipc}) are {sizes}; they are one or more in "
            f"each stage, and ipc={settings.ipc} in all"
        )


def _refuse_spare_networks(protocol: EvaluationProtocol) -> None:
    """Refuse more networks for features than networks are trained on what is chosen in them."""
    count, repeats = protocol.features.networks, protocol.repeats
    if count > repeats:
        raise SettingError(
            f"evaluation.features.networks={count}: a set is chosen in each, and with evaluation.repeats={repeats} not "
            f"all of them would be trained on; choose at most {repeats}, or more repeats"
        )


def _refuse_beside_prepare(settings: Settings) -> None:
    """Refuse what is done to a run, or said of it, where none is begun."""
    if settings.prepare and settings.dry_run:
        said = str(settings.dry_run).lower()
        raise SettingError(f"prepare=true with dry_run={said}: the one makes what the other only lists; give one")
    if settings.prepare and settings.overwrite:
        raise SettingError(
            "prepare=true with overwrite=true: nothing is run, so no run is put aside; give overwrite=true to the runs "
            "alone, and delete below buffers_root what is to be made anew"
        )


def _refuse_tests(protocol: EvaluationProtocol) -> None:
    """Refuse what only an evaluation of a finished set can do."""
    for name, value, alone in (("tests", protocol.tests, 1), ("selection", protocol.selection, "last")):
        if value != alone:
            raise SettingError(
                f"evaluation.{name}={value}: a run tests networks at their end; leave it out, or give it to "
                "evaluate.py with the finished set"
            )


def _refuse_undecoded(formation: Formation, method: type[Method], name: str) -> None:
    """Refuse images that stand for others where the method would match them as they are stored."""
    deciding = ("factor", "stored_as")
    given = {key: getattr(formation, key) for key in deciding if getattr(formation, key) != getattr(Formation(), key)}
    if given and not method.decodes:
        key, value = next(iter(given.items()))
        able = ", ".join(other for other in METHODS if METHODS[other].decodes)
        raise SettingError(
            f"method.formation.{key}={value}: method={name} matches the images as they are stored, and networks would "
            f"be trained on others; leave it out, or use method={able}, or one of your own that says decodes = True"
        )


def _refuse_unmet(kind: str, name: str, needs: frozenset[str], gives: frozenset[str], method: str) -> None:
    """Refuse a plug-in that needs what the method cannot give."""
    for need in sorted(needs - gives):
        able = [other for other in METHODS if needs <= METHODS[other].gives]
        raise SettingError(
            f"{kind}={name}: needs {GIVEN[need]}, and method={method} has none; use it with method={', '.join(able)}"
        )


def _refuse_idle_sampler(sampler: str, gives: frozenset[str], init: str, method: str) -> None:
    """Refuse a sampler of which neither the matches nor the start of the set take an image."""
    if sampler != BY_ITSELF["sampler"] and "real" not in gives and init != "real":
        raise SettingError(
            f"sampler={sampler}: chooses no image here, for method={method} matches no real batches and "
            f"method.init={init} takes none from it; give method.init=real, or sampler={BY_ITSELF['sampler']}"
        )
