"""A bad setting is one line that names it, its value and the way out, before any work."""

import math

import hydra
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cmidd.analysis.evaluations.settings import OWN, read_evaluation
from cmidd.analysis.settings import CompareSettings, FigureSettings, ReportSettings, TableSettings, read_standalone
from cmidd.analysis.tables.table import read_layout
from cmidd.bench.benchmark import read_bench
from cmidd.cli.compose import CONFIGS, as_dict, compose
from cmidd.runs.read_settings import read_settings
from cmidd.utils.errors import SettingError
from tests.support.refusals import TRIED, acceptable, at, changed, leaves, refused

NAN, INFINITE, HUGE = math.nan, math.inf, 10**400
# By the type of the value that stands there: what can never be right instead.
NEVER = {
    int: ["abc", "", NAN, INFINITE, -1, 1.5, True, [], [1], {"x": 1}, HUGE],
    float: ["abc", "", NAN, INFINITE, -INFINITE, -0.5, True, [], {"x": 1}],
    bool: ["abc", "", NAN, 2, [], {"x": 1}],
    str: [5, NAN, True, [], ["a"], {"x": 1}, "", "no such thing\0"],
}
# ... and what can, all the same.
SOUND = [
    ("wandb.project", "no such thing\0"),
    ("engine.compile", True),
    ("engine.at_once", 5),
    ("checkpoint_seconds", 1.5),
    ("method.lr_img", 1.5),
    ("method.meter_reset", [1]),
]
# Composed away before settings are read: what they stand for is checked in their place.
NO_SETTINGS = {"dataset.augment", "dataset.teacher"}
METHODS = ("dm", "dc", "dsa", "mtt", "idm", "idc", "datm", "ncfm")


def composed(*words):
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return as_dict(hydra.compose("distill", list(words)))


@pytest.fixture(scope="module")
def configs():
    return {name: composed(f"method={name}") for name in METHODS}


def reading(kind, config, name, value):
    """Either accepted, or refused as it should be; returns whether it was refused."""
    try:
        read_settings(changed(config, name, value))
    except SettingError as error:
        acceptable(kind, (name, value), str(error))
        return True
    return False


@pytest.mark.parametrize("method", METHODS)
def test_no_setting_takes_what_can_never_be_right(configs, method):
    config = configs[method]
    tried = 0
    for name in leaves(config):
        if name in NO_SETTINGS or (method != "mtt" and not name.startswith("method.")):
            continue
        for value in NEVER.get(type(at(config, name)), []):
            if any(name == setting and value == sound for setting, sound in SOUND):
                continue
            message = refused("settings", (name, value), lambda n=name, v=value: read_settings(changed(config, n, v)))
            assert name.removesuffix(".name") in message, (name, value, message)
            tried += 1
    assert tried >= (250 if method == "mtt" else 60)


@pytest.mark.parametrize("method", METHODS)
def test_a_missing_or_an_unknown_setting_is_named(configs, method):
    config = configs[method]
    for group in ("", "method", "network", "dataset", "cmi", "evaluation", "evaluation.training", "engine", "data"):
        holder = at(config, group) if group else config
        name = f"{group}.no_such" if group else "no_such"
        message = refused("settings", (method, name), lambda n=name: read_settings(changed(config, n, 1)))
        assert "no_such" in message
        assert isinstance(holder, dict)
    for name in ("ipc", "method", "network", "dataset", "cmi", "evaluation", "sampler", "schedule"):
        without = {key: value for key, value in config.items() if key != name}
        refused("settings", (method, "without", name), lambda c=without: read_settings(c), name)
    for name in ("data", "wandb"):  # They have the defaults of configs/distill.yaml.
        assert read_settings({key: value for key, value in config.items() if key != name}) == read_settings(config)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_value_anywhere_is_accepted_or_refused_in_one_line(configs, data):
    config = configs[data.draw(st.sampled_from(METHODS))]
    name = data.draw(st.sampled_from(sorted(leaves(config))))
    reading("any value", config, name, data.draw(VALUES))


COMBINATIONS = [
    (["method=mtt", "regularizer=iid"], "regularizer=iid"),
    (["method=mtt", "sampler=dream"], "sampler=dream"),
    (["method=dm", "ipc=1", "schedule=pdd"], "schedule.stages=5"),
    (["method=dm", "+iid.lambda=1"], "iid: not among"),
    (["method=dm", "regularizer=iid", "iid.lambda=-1"], "iid.lambda=-1"),
    (["method=dm", "regularizer=[iid,nosuch]"], "regularizer=nosuch"),
    (["method=idc", "schedule=seqmatch", "schedule.overrides=[{typo: 1}]"], "schedule.overrides.typo"),
    (["cmi=paper"], "cmi=paper"),
    (["cmi=recipe", "dataset=folder"], "cmi=recipe"),
    (["cmi.lambda=nan"], "cmi.lambda=nan"),
    (["cmi.lambda=inf"], "cmi.lambda=inf"),
    (["cmi.lambda=[1,2]"], "cmi.lambda=[1, 2]"),
    (["+cmi.lamda=0.1"], "cmi.lamda"),
    (["cmi.fallback=papr"], "cmi.fallback=papr"),
    (["+cmi.published={3: abc}", "cmi=none"], "cmi.published"),
    (["cmi.teacher=convent"], "cmi.teacher=convent"),
    (["method=dm", "+method.syn_steps=3"], "method.syn_steps"),
    (["method=dm", "method.augment.strategy=flip_spin"], "method.augment.strategy=flip_spin"),
    (["method=dm", "+method.formation.factor=2"], "method.formation.factor=2"),
    (["method=datm", "+method.formation.stored_as=pixels"], "method.formation.stored_as=pixels"),
    (["method=idc", "evaluation.training.augment.strategy=zoom_flip"], "composition=idc"),
    (["method=mtt", "+method.experts.training.hard_epochs=3"], "method.experts.training.hard_epochs"),
    (["network=lenet", "+network.width=3"], "network.width"),
    (["network=nosuch"], "network=nosuch"),
    (["dataset=folder", "dataset.size=4"], "dataset.size=4"),
    (["dataset=folder", "dataset.channels=2"], "dataset.channels=2"),
    (["dataset.validation=1"], "dataset.validation=1"),
    (["dataset.name=../x"], "dataset=../x"),
    (["evaluation.baselines=[rnd]"], "evaluation.baselines.0=rnd"),
    (["evaluation.repeats=2", "evaluation.features.networks=3"], "evaluation.features.networks=3"),
    (["device=cuda:x"], "device=cuda:x"),
    (["device=meta"], "device=meta"),
    (["+typo=1"], "typo: unknown setting"),
    (["typo=1"], "typo"),
    (["~cmi.pool"], "cmi.pool: missing"),
    (["method=5"], "method=5"),
    (["ipc=${oops}"], "oops"),
    (["ipc=(1"], "ipc=(1"),
    (["sampler=whole"], "sampler=whole"),
    (["schedule=random"], "schedule=random"),
]


@pytest.mark.parametrize(
    ("words", "name"), COMBINATIONS, ids=lambda value: " ".join(value) if list is type(value) else ""
)
def test_words_that_do_not_go_together_are_refused(words, name):
    refused("words", words, lambda: compose(words), name)


def standalone(name):
    own = CONFIGS / "command" / f"{name}.yaml"
    config = OmegaConf.load(own if own.exists() else CONFIGS / f"{name}.yaml")
    given = OmegaConf.to_container(config, resolve=False)
    layout = OmegaConf.to_container(OmegaConf.load(CONFIGS / "command" / "table" / "digits.yaml"))
    needed = {"synthetic": "x.pt", "method": "dm", "dataset": "digits", "to": "results/x", "table": layout}
    plain = {key: value for key, value in given.items() if key not in ("defaults", "hydra")}
    return {
        key: needed.get(key, value) if value in ("???", None) or "$" in str(value) else value
        for key, value in plain.items()
    }


READERS = {
    # What it has not itself comes as a word alone.
    "evaluate": lambda config: read_evaluation(config, [f"+{name}=1" for name in config if name not in OWN], compose),
    "bench": read_bench,
    "figures": lambda config: read_standalone(FigureSettings, config),
    "table": lambda config: read_standalone(TableSettings, config),
    "compare": lambda config: read_standalone(CompareSettings, config),
    "report": lambda config: read_standalone(ReportSettings, config),
}


@pytest.mark.parametrize("name", READERS)
def test_the_other_scripts_refuse_bad_settings_too(name):
    read = READERS[name]
    config = standalone(name)
    if name in ("table", "report"):
        config["table"] = OmegaConf.to_container(OmegaConf.load(CONFIGS / "command" / "table" / "digits.yaml"))
    read(config)
    tried = 0
    for setting in [*(key for key in config if key != "table"), "no_such"]:
        for value in (NAN, {"x": 1}, -1, "\0", [{}], []):
            if setting == "overrides":
                continue
            refused(f"{name}.py", (setting, value), lambda s=setting, v=value: read(changed(config, s, v)), setting)
            tried += 1
        without = {key: value for key, value in config.items() if key != setting}
        if setting != "no_such":
            refused(f"{name}.py", ("without", setting), lambda c=without: read(c), setting)
    assert tried >= 18


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("columns", 5),
        ("columns", []),
        ("columns", [{"dataset": "x"}]),
        ("columns", [{"dataset": "../x", "ipc": 1}]),
        ("columns", [{"dataset": "x", "ipc": -1}]),
        ("groups", {"a": 5}),
        ("groups", {"a": {"DM": {"method": "dm", "typo": 1}}}),
        ("groups", {"a": {"DM": {"method": "../dm"}}}),
        ("groups", {"a": {"DM": {"published": [[1, 2], [3, 4]]}}}),
        ("groups", {"a": {"DM": {"published": [[NAN, 2]]}}}),
        ("groups", {"a": {"DM": {"published": ["x"]}}}),
        ("typo", 1),
    ],
)
def test_a_bad_layout_of_a_table_is_refused(name, value):
    layout = {"columns": [{"dataset": "digits", "ipc": 10}], "groups": {"a": {"DM": {"method": "dm"}}}}
    refused("layout", (name, value), lambda: read_layout(changed(layout, name, value)), f"table.{name}")


def test_enough_distinct_bad_settings_were_tried():
    if len(TRIED["words"]) == len(COMBINATIONS):  # the whole file ran
        counts = {kind: len(tried) for kind, tried in TRIED.items()}
        print(counts)
        assert sum(counts.values()) >= 500
