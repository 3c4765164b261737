"""Processes that start the same run, buffer or teachers at once leave what a lone one leaves."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torchvision

from cmidd.data.sources import from_torchvision
from tests.support.forked import as_main, forked
from tests.support.runs import ROOT, SHORT, TINY, TINY_METHOD


def race(number, script, *words):
    runs, all_words = ROOT / "tests" / "support" / "race_runs.py", [*TINY, *TINY_METHOD["mtt"], *SHORT, *words]
    done = forked(as_main, runs, str(number), script, *all_words, cwd=None)
    assert done.returncode == 0, done.stderr
    print(script, done.stdout)
    return json.loads(done.stdout.splitlines()[-1])


def test_three_processes_start_the_same_run_and_one_does_it():
    ends = race(3, "distill")
    assert ends["came to the end"] >= 1
    assert ends["came to the end"] + ends.get("said that another is at work", 0) == 3


def test_a_data_set_is_downloaded_by_one_at_a_time(tmp_path, monkeypatch):
    inside = []

    class Downloading:
        data, targets = torch.zeros(2, 4, 4, 3, dtype=torch.uint8), [0, 1]

        def __init__(self, *_, **__):
            inside.append(self)
            assert len(inside) == 1
            time.sleep(0.02)
            inside.remove(self)

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Downloading)
    with ThreadPoolExecutor(3) as pool:
        read = [pool.submit(from_torchvision, "cifar10", tmp_path / "data", True) for _ in range(3)]
    assert [len(future.result().train) for future in read] == [2, 2, 2]


@pytest.mark.heavy
@pytest.mark.parametrize("script", ["distill", "buffer", "teachers"])
def test_ten_processes_start_the_same_at_once(script):
    ends = race(10, script, "cmi.pool=4", "method.experts.count=4")
    assert ends["came to the end"] >= (1 if script == "distill" else 10)
    assert ends["came to the end"] + ends.get("said that another is at work", 0) == 10
