"""Seconds per iteration and peak memory of the methods on random images: ``python scripts/bench.py``."""

from typing import Any

from cmidd.bench.benchmark import bench, read_bench
from cmidd.cli.app import hydra_app
from cmidd.cli.compose import compose


def main() -> None:
    """Run the command."""
    hydra_app(measure, "bench")


def measure(config: dict[str, Any]) -> None:
    """Measure every cell of a config."""
    bench(read_bench(config), compose)
