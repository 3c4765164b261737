"""The first look at what was typed: what it refuses, with which words, and that torch is not needed for it."""

import copy
import dataclasses
import functools
import inspect
import subprocess
import sys
from typing import get_type_hints

import pytest
import yaml

from cmidd.cli.compose import compose, composition
from cmidd.cli.first_look import look, type_of
from cmidd.compute.recipe import TrainingRecipe
from cmidd.methods import METHODS
from cmidd.networks import NETWORKS
from cmidd.regularizers import REGULARIZERS
from cmidd.runs.read_settings import read_settings
from cmidd.runs.settings import CMISettings, Settings
from cmidd.samplers import SAMPLERS
from cmidd.schedules import SCHEDULES
from cmidd.utils.errors import SettingError

WRONG = [
    *("ipc=ten", "ipc=0", "seed=-1", "device=gpu", "engine.precision=fp16", "engine.compile=perhaps", "on_nan=retry"),
    *("data.download=2", "results_root=1", "checkpoint_seconds=-1", "balance_steps=0", "dry_run=perhaps"),
    *("evaluation.repeats=0", "evaluation.interval=x", "evaluation.training.lr=-1", "evaluation.whole.epochs=0.5"),
    *("evaluation.baselines=[nosuch]", "evaluation.training.lr=nan", "evaluation.training.momentum=1"),
    *("method.lr_img=abc", "method.syn_steps=0", "method.iterations=x", "method.formation.factor=0"),
    *("method.experts.count=0", "method.experts.training.epochs=x", "method.init=grey", "network.depth=abc"),
    *("network.norm=l2norm", "dataset.validation=2", "dataset.zca=perhaps", "cmi.lambda=abc", "cmi.lambda=-1"),
    *("cmi.ratio=0", "cmi.epochs=0", "cmi.measure=2", "cmi.centroids=none"),
]


def line_of(call):
    with pytest.raises(SettingError) as error:
        call()
    return str(error.value)


@functools.cache
def started():
    return composition([])


def typed(word):
    """What would be composed of a word, without Hydra, which takes its time."""
    name, _, value = word.partition("=")
    settings = copy.deepcopy(started().settings)
    *above, last = name.split(".")
    functools.reduce(lambda part, key: part.setdefault(key, {}), above, settings)[last] = yaml.safe_load(value)
    return dataclasses.replace(started(), settings=settings, words=[word])


@pytest.mark.parametrize("word", WRONG)
def test_a_wrong_value_is_refused_before_torch_is_imported_in_the_words_that_it_is_refused_with_later(word):
    chosen = typed(word)
    assert line_of(lambda: look(chosen)) == line_of(lambda: read_settings(chosen.settings))


@pytest.mark.parametrize("words", [[], ["cmi=paper"], ["cmi.lambda=recipe"], ["cmi.ratio=0.3"], ["cmi.pool=null"]])
def test_what_is_right_or_has_to_wait_passes(words):
    look(composition(["method=dm", "ipc=2", "evaluation.repeats=1", "cmi.input=reference", *words]))


def test_wrong_values_of_plugins_beside_the_method_are_seen():
    words = ["regularizer=[iid]", "iid.teacher_weight_decay=x"]
    assert line_of(lambda: look(composition(words))) == line_of(lambda: compose(words))
    assert "sampler.rounds=0" in line_of(lambda: look(composition(["method=dm", "sampler=dream", "sampler.rounds=0"])))


def test_of_an_evaluation_plugins_are_looked_at_where_they_were_typed_as_the_set_may_have_others():
    wrong = typed("network.norm=l2norm")
    look(wrong, of_a_set=True)
    chosen = dataclasses.replace(wrong, words=["network=convnet", *wrong.words])
    assert "network.norm=l2norm" in line_of(lambda: look(chosen, of_a_set=True))
    assert "evaluation.repeats=0" in line_of(lambda: look(typed("evaluation.repeats=0"), of_a_set=True))


def test_types_read_in_the_sources_are_those_of_the_classes():
    parts = {"": Settings, "cmi": CMISettings, "evaluation.training": TrainingRecipe}
    told = 0
    for above, kind in parts.items():
        for name in get_type_hints(kind):
            told += same(".".join(part for part in (above, name) if part), {}, kind)
    rooms = {"method": METHODS, "network": NETWORKS, "sampler": SAMPLERS, "schedule": SCHEDULES}
    for group, room in rooms.items():
        for name, kind in room.items():
            for key in keywords(kind):
                told += same(f"{group}.{key}", {group: name}, kind)
    for name, kind in REGULARIZERS.items():
        for key in keywords(kind) if name != "cmi" else ():
            told += same(f"{name}.{key}", {}, kind)
    assert told > 80


def same(name, choices, kind):
    """Whether the type of a setting is told without its class, which must then be the class's own."""
    found = type_of(name, choices)
    if found is None:
        return False
    made = kind if dataclasses.is_dataclass(kind) else kind.__init__
    own = get_type_hints(made, include_extras=True)[name.rpartition(".")[2]]
    assert repr(found) == repr(own), name  # Two fields of pydantic are never equal.
    return True


def keywords(kind):
    return [each.name for each in inspect.signature(kind).parameters.values() if each.kind == each.KEYWORD_ONLY]


def test_torch_is_not_imported_for_a_wrong_value():
    code = "import sys; sys.argv = ['distill.py', 'ipc=ten']; from cmidd.cli.main import run\n"
    code += "try: run('distill')\nfinally: print({'torch'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 2 and "ipc=ten" in ended.stderr
    assert ended.stdout.strip() == "set()"
