"""Are the pinned dependencies complete, and is none of them yanked or known to be vulnerable: ``scripts/audit.py``.

Asks the index's JSON interface, one request for each pin; pip-audit would ask the same, but says nothing of yanked
versions, and takes a package that the index does not answer for as clean. Exit code 0: all is well; 1: something is
not, and is listed; 3: nothing is known, because the index does not answer.
"""

import argparse
import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
EXTRAS = ("test", "launchers")
# What torch brings along for its CUDA build: pinned by torch itself, and absent from the CPU build.
BY_TORCH = ("nvidia-", "cuda-", "triton")


def read_pins(path: Path) -> tuple[dict[str, str], list[str]]:
    """The version of every distribution, and the lines that are no pin ``name==version``."""
    pins, others = {}, []
    for line in path.read_text().splitlines():
        if match := PIN.fullmatch(line.strip()):
            pins[canonicalize_name(match[1])] = match[2]
        else:
            others.append(f"{path.name}: {line!r} is no name==version")
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


def known_flaws(name: str, version: str, index: str) -> list[str]:
    """What the index knows against a version."""
    with urllib.request.urlopen(f"{index}/{name}/{version}/json", timeout=20) as answer:
        about = json.load(answer)
    found = []
    if about["info"].get("yanked"):
        found.append(f"{name} {version}: yanked ({about['info'].get('yanked_reason') or 'no reason given'})")
    for flaw in about["vulnerabilities"]:
        fixed = ", ".join(flaw.get("fixed_in") or []) or "none yet"
        found.append(f"{name} {version}: {flaw['id']}, fixed in {fixed}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--constraints", type=Path, default=CONSTRAINTS)
    parser.add_argument("--index", default="https://pypi.org/pypi", help="the JSON interface of a package index")
    parser.add_argument("--offline", action="store_true", help="only whether the pins are complete")
    given = parser.parse_args()
    pins, found = read_pins(given.constraints)
    found += unpinned(pins)
    unanswered = None
    for name, version in () if given.offline else pins.items():
        try:
            found += known_flaws(name, version, given.index)
        except (OSError, ValueError, KeyError) as error:  # An index without this interface answers for no pin.
            unanswered = f"{given.index} does not answer for {name} {version}: {error}"
            break
    print("\n".join([*found, f"{len(pins)} pins, {len(found)} flaws" + (" (offline)" if given.offline else "")]))
    if unanswered:
        print(f"{unanswered}; whether pins are yanked or vulnerable is not known", file=sys.stderr)
    return 1 if found else 3 if unanswered else 0


if __name__ == "__main__":
    sys.exit(main())
