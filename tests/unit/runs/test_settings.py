"""The settings of a run: what may differ between two starts, and one table of defaults."""

from dataclasses import MISSING, fields

from cmidd.analysis.results import Result
from cmidd.analysis.verify import rebuild
from cmidd.cli.compose import compose
from cmidd.runs.record import RunRecord
from cmidd.runs.settings import FREE, Settings
from cmidd.utils.files import as_json


def test_the_defaults_of_what_may_differ_are_those_of_the_config():
    settings = compose([])
    for field in fields(Settings):
        if field.name in FREE:
            assert field.default is not MISSING
            assert getattr(settings, field.name) == field.default, field.name
            assert field.name not in settings.identity


def test_a_record_gives_its_settings_back(tmp_path):
    words = ["method=idc", "dataset=cifar10", "ipc=10", "cmi.lambda=3", "sampler=dream", "regularizer=mim4dd"]
    settings = compose(words)
    record = RunRecord(as_json(settings.identity), "test", {"iteration": 1, "accuracies": [10.0]})
    rebuilt = rebuild(Result(tmp_path / "result.json", record))
    assert rebuilt.identity == settings.identity
    assert rebuilt.arguments == settings.arguments
    assert rebuilt.terms == settings.terms


def test_the_arguments_of_a_stage_are_those_of_the_method_with_what_the_schedule_changes():
    settings = compose(["method=idc", "dataset=cifar10", "schedule=seqmatch"])
    assert settings.stage_sizes == [5, 5]
    assert settings.arguments["inner_loop"] == 50
    assert settings.arguments_in(1) == {**settings.arguments, "inner_loop": 100, "batch_syn_max": 256}
