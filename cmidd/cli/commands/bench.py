"""Measure seconds and peak memory of an iteration of the methods, on random images.

Examples:
    cmidd bench                                              # every task in every mode, at CIFAR10's shape
    cmidd bench 'task=[dm,idc]' 'ipc=[1,10,50]' 'mode=[float32,bf16 compiled]' 'cmi=[0,1]'
    cmidd bench 'task=[dm]' 'image_size=[32,64,128]' "overrides.dm=['network.depth=5']"
    cmidd bench 'dataset=[cifar10,cifar100]' steps=10
"""

from typing import Any

from cmidd.bench.benchmark import bench, read_bench
from cmidd.cli.compose import compose


def main(config: dict[str, Any]) -> None:
    """Measure every cell of a config."""
    bench(read_bench(config), compose)
