"""Seconds per iteration and peak memory of the methods on random images: ``python scripts/bench.py``."""

from typing import Any

from cmidd.bench import bench, read_bench
from cmidd.cli import compose_run, hydra_app


def main(config: dict[str, Any]) -> None:
    bench(read_bench(config), compose_run)


if __name__ == "__main__":
    hydra_app(main, "standalone/bench")
