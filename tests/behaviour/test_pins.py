"""Every dependency is pinned by its name and the version that is installed."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.refusals import ROOT

CONSTRAINTS = ROOT / "constraints.txt"
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
EXTRAS = ("test", "docs", "launchers", "parquet", "tensorboard")
# What torch brings along for its CUDA build: pinned by torch itself, and absent from the CPU build.
BY_TORCH = ("nvidia-", "cuda-", "triton")


def read_pins(text: str) -> tuple[dict[str, str], list[str]]:
    """The version of every distribution, and the lines that are no pin ``name==version``."""
    pins, others = {}, []
    for line in text.splitlines():
        if match := PIN.fullmatch(line.strip()):
            pins[canonicalize_name(match[1])] = match[2]
        else:
            others.append(line)
    return pins, others


def needed(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> Iterator[str]:
    """Every installed distribution that ``name`` pulls in here."""
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    try:
        requires = distribution(name).requires or []
    except PackageNotFoundError:
        return
    yield name
    for requirement in map(Requirement, requires):
        markers = [{"extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(requirement.marker.evaluate(marker) for marker in markers):
            yield from needed(canonicalize_name(requirement.name), frozenset(requirement.extras), seen)


def unpinned(pins: dict[str, str]) -> list[str]:
    """What is installed for the project and not pinned, or in another version."""
    found = []
    for name in sorted({*needed("cmidd", frozenset(EXTRAS), set())} - {"cmidd"}):
        version = distribution(name).version.partition("+")[0]  # 2.15.0+cpu is 2.15.0, built for the CPU.
        if name not in pins and not name.startswith(BY_TORCH):
            found.append(f"{name} {version}: installed, but not in {CONSTRAINTS.name}")
        elif name in pins and pins[name] != version:
            found.append(f"{name} {version}: installed, but {CONSTRAINTS.name} has {pins[name]}")
    return found


@pytest.fixture(scope="module")
def pins():
    return read_pins(CONSTRAINTS.read_text())


def test_every_line_is_a_name_and_a_version(pins):
    assert pins[1] == []
    assert "torch" in pins[0]


def test_every_installed_dependency_is_pinned_in_its_version(pins):
    assert unpinned(pins[0]) == []


def test_the_oldest_versions_to_test_are_the_oldest_that_may_be_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = list(map(Requirement, project["dependencies"]))
    bounds = {each.name: bound.version for each in requirements for bound in each.specifier if bound.operator == ">="}
    oldest, others = read_pins((ROOT / "tools" / "oldest.txt").read_text())
    assert others == []
    assert set(bounds) == {each.name for each in requirements if each.marker is None}
    assert {name: Version(pin) for name, pin in oldest.items()} == {k: Version(bound) for k, bound in bounds.items()}


def test_what_is_no_pin_absent_or_in_another_version_is_found(pins):
    assert read_pins("good==1.0\nnumpy>=1\nx @ https://example.invalid/x.whl\n") == (
        {"good": "1.0"},
        ["numpy>=1", "x @ https://example.invalid/x.whl"],
    )
    version = distribution("numpy").version
    without = {name: pinned for name, pinned in pins[0].items() if name != "numpy"}
    assert unpinned(without) == [f"numpy {version}: installed, but not in constraints.txt"]
    assert unpinned({**pins[0], "numpy": "0.1"}) == [f"numpy {version}: installed, but constraints.txt has 0.1"]
