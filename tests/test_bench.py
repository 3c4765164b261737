"""The bench measures real steps of real methods, and writes what it measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def bench(cwd, *words):
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_steps_and_memory_are_recorded_beside_what_was_there(tmp_path):
    words = ("network.width=8", "method.outer_loop=3", "method.net.epochs=1", "method.batch_real=8")
    small = "overrides.dsa=[" + ",".join(f"'{word}'" for word in words) + "]"
    results = tmp_path / "results"
    results.mkdir()
    (results / "bench1.md").write_text("an earlier table")
    done = bench(tmp_path, "method=[dsa]", "dataset=[fashion_mnist]", "images_per_class=8", "steps=3", small)
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads((results / "bench2.json").read_text())["cells"]
    assert len(cell["step_seconds"]) == 3
    assert cell["steps_per_iteration"] == 3
    assert cell["seconds_per_iteration"] == pytest.approx(3 * sorted(cell["step_seconds"])[1])
    assert cell["peak_memory_mib"] > 0
    assert "| dsa | fashion_mnist | 10 | 0 |" in (results / "bench2.md").read_text()
    assert (results / "bench1.md").read_text() == "an earlier table"
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def test_an_unknown_method_is_one_line(tmp_path):
    done = bench(tmp_path, "method=[dmm]")
    assert done.returncode == 2
    assert done.stderr.startswith("error: method=dmm: unknown; choose among dc, dm")
