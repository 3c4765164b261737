"""Complaints of settings that may have several types."""

import pytest

from cmidd.cli.compose import compose
from cmidd.utils.checking import checked
from cmidd.utils.errors import SettingError

SAID = {
    "dry_run=maesure": "dry_run=maesure: Input should be true, false or 'measure'",
    "engine.compile=ture": "engine.compile=ture: Input should be true, false or 'auto'",
    "engine.at_once=some": "engine.at_once=some: Input should be a valid integer or 'auto'",
    "evaluation.baselines=whole": "evaluation.baselines=whole: Input should be a list, with brackets: [a,b]",
    "device=gpu": "device=gpu: Input should be 'auto', 'cpu', 'cuda', 'cuda:<n>', 'mps' or 'free_gpu'",
    "engine.graphs=x": "engine.graphs=x: Input should be a valid boolean",
}


@pytest.mark.parametrize("word", SAID)
def test_the_setting_is_named_as_it_is_typed_with_every_value_that_it_takes(word):
    with pytest.raises(SettingError) as error:
        compose([word])
    assert str(error.value) == SAID[word]


class Own:
    def __init__(self, context: "OnlyForTypeCheckers", size: int = 3, *, rate: float = 0.5):  # noqa: F821
        raise AssertionError


def test_the_types_of_what_is_no_setting_may_be_known_to_type_checkers_alone():
    assert checked(Own, {"rate": 1}, "own") == {"rate": 1.0}

    def unknown(*, rate: "OnlyForTypeCheckers"):  # noqa: F821
        raise AssertionError

    with pytest.raises(
        SettingError, match=r"unknown: the type of a setting is not known where it runs \(name 'OnlyFor"
    ):
        checked(unknown, {"rate": 1}, "own")


def test_a_setting_before_the_star_is_said_to_be_none():
    with pytest.raises(SettingError, match=r"^own.size: unknown setting; settings of Own stand behind a \*, and this"):
        checked(Own, {"size": 4}, "own")
    with pytest.raises(SettingError, match=r"^own.context: unknown setting; known: rate$"):
        checked(Own, {"context": 4}, "own")
