"""Plug-ins are found by their file or entry point, imported when they are asked for, and refused when they clash."""

from importlib.metadata import EntryPoint

import pytest

from cmidd.cli.compose import compose
from cmidd.core.method import Method
from cmidd.core.regularizer import Regularizer
from cmidd.methods import METHODS
from cmidd.networks import NETWORKS
from cmidd.regularizers import REGULARIZERS
from cmidd.runs.lambdas import take_regularizers
from cmidd.utils import plugins
from cmidd.utils.checking import checked
from cmidd.utils.errors import SettingError


@pytest.fixture
def installed(monkeypatch):
    """Have a package with an entry point of a group, as if it were installed."""

    def install(group, name, value):
        points = {name: EntryPoint(name, value, group)}
        monkeypatch.setattr(plugins, "entry_points_of", lambda own: points if own == group else {})

    return install


def test_a_room_is_its_files():
    assert set(METHODS) == {"dm", "dc", "dsa", "mtt", "idm", "idc", "datm", "ncfm"}
    assert set(NETWORKS) == {"alexnet", "convnet", "lenet", "mlp", "resnet10", "resnet18", "resnetap10", "vgg11"}
    assert all(issubclass(METHODS[name], Method) for name in METHODS)
    assert {name: REGULARIZERS[name].name for name in REGULARIZERS} == {name: name for name in REGULARIZERS}


def test_a_file_that_comes_later_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "PACKAGE", tmp_path)
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "one.py").touch()
    assert plugins.files_of("cmidd.networks") == {"one"}
    (tmp_path / "networks" / "other.py").touch()
    assert plugins.files_of("cmidd.networks") == {"one", "other"}


def test_an_entry_point_is_imported_when_it_is_asked_for(installed):
    installed("cmidd.methods", "theirs", "cmidd.methods.dm:DM")
    assert "theirs" in METHODS
    assert METHODS["theirs"] is METHODS["dm"]
    installed("cmidd.methods", "theirs", "no_such_package:DM")
    assert "theirs" in METHODS
    with pytest.raises(SettingError, match=r"theirs: the entry point no_such_package:DM .* repair or remove"):
        METHODS["theirs"]


def test_what_is_no_plug_in_of_the_kind_is_refused(installed):
    installed("cmidd.methods", "theirs", "cmidd.networks.mlp:MLP")
    with pytest.raises(SettingError, match=r"theirs: the entry point cmidd.networks.mlp:MLP is no Method"):
        METHODS["theirs"]


def test_two_of_a_name_are_refused(installed):
    installed("cmidd.methods", "dm", "cmidd.methods.dc:DC")
    with pytest.raises(SettingError, match="dm: an installed package brings a second one"):
        list(METHODS)


class Odd(Regularizer):
    name = "odd"

    def __init__(self, context, teachers, *, root: float, device: str = "here", copy: int = 1, model_config: int = 2):
        self.given = root, device, copy, model_config

    def __call__(self, match, generator):
        raise AssertionError


def test_a_setting_of_a_plug_in_may_have_any_name():
    given = checked(Odd, {"root": 0.5, "device": "there", "copy": 3}, "odd")
    assert given == {"root": 0.5, "device": "there", "copy": 3, "model_config": 2}
    for name in ("context", "teachers", "self"):
        with pytest.raises(SettingError, match=f"odd.{name}: unknown setting"):
            checked(Odd, {"root": 0.5, name: 1}, "odd")


@pytest.mark.parametrize("name", ["data", "seed", "evaluation"])
def test_a_regulariser_named_like_a_setting_is_refused(monkeypatch, name):
    monkeypatch.setitem(REGULARIZERS.built_in, name, Odd)
    with pytest.raises(SettingError, match=f"regularizer={name}: every run has a setting of that name; rename"):
        compose(["method=dm"])


def a_function():
    raise AssertionError


class Half(Method):
    def __init__(self, context):
        raise AssertionError


def test_a_function_where_a_class_is_needed_is_refused(installed):
    installed("cmidd.methods", "theirs", f"{__name__}:a_function")
    with pytest.raises(SettingError, match=r"theirs: the entry point .*:a_function is no Method; repair"):
        METHODS["theirs"]


def test_what_a_class_forgets_is_named(installed):
    installed("cmidd.methods", "theirs", f"{__name__}:Half")
    with pytest.raises(SettingError, match=r"Half: does not define matches, param_groups; add it$"):
        METHODS["theirs"]


def test_a_term_is_called_as_it_is_asked_for(installed):
    installed("cmidd.regularizers", "sharp", "cmidd.regularizers.cmi:CMI")
    compose(["method=dm"])
    with pytest.raises(SettingError, match=r"^regularizer=sharp: CMI.name is 'cmi'; give the class name = 'sharp'$"):
        take_regularizers({"sharp": {"default": None}})
