"""The bench measures real steps of real methods, and writes what it measured."""

import functools
import json
import os
import time
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cmidd.bench import benchmark, estimate, roofline
from cmidd.bench.benchmark import count_step, measure
from cmidd.bench.breakdown import Shares
from cmidd.bench.roofline import Counter, Machine, measure_machine
from cmidd.bench.workloads import OTHERS, Workload, method_of, timed_step
from cmidd.cli.compose import compose
from cmidd.data import augmentation
from cmidd.data.augmentation import Augmentation, placed
from cmidd.data.split import Split
from cmidd.methods import METHODS
from cmidd.runs.build import make_context
from tests.support.forked import ROOT, as_main, forked
from tests.support.runs import TINY, TINY_METHOD

ROW = {
    **{"task": "dm", "dataset": "cifar10", "image_size": 32, "ipc": 10, "cmi": 0, "mode": "a mode", "shares": {}},
    **{"step_seconds": [8.0], "first_step_seconds": 8.0, "peak_memory_mib": 1.0},
}


def bench(cwd, *words):
    return forked(bench_on_a_small_product, *words, cwd=cwd)


def bench_on_a_small_product(*words):
    benchmark._apart = lambda function, *arguments: function(*arguments)  # Each would import torch anew.
    benchmark.measure_machine = functools.partial(benchmark.measure_machine, side=256, repeats=2)
    as_main(ROOT / "scripts" / "bench.py", *words)


def test_every_measurement_has_a_process_of_its_own():
    assert os.getpid() != benchmark._apart(os.getpid) != benchmark._apart(os.getpid)


def test_steps_and_memory_are_recorded_beside_what_was_there(tmp_path):
    words = ("network.width=8", "method.outer_loop=3", "method.net.epochs=1", "method.batch_real=8")
    small = "overrides.dsa=[" + ",".join(f"'{word}'" for word in words) + "]"
    results = tmp_path / "results"
    results.mkdir()
    (results / "bench1.md").write_text("an earlier table")
    words = [
        "task=[dsa]",
        "dataset=[fashion_mnist]",
        "mode=[float32,bf16]",
        "images_per_class=8",
        "steps=3",
        "image_size=[16]",
        small,
    ]
    done = bench(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    record = json.loads((results / "bench2.json").read_text())
    first, cell = record["cells"]
    assert set(record["machine"]) == {"float32", "bf16"}
    assert cell["image_size"] == 16
    assert (first["times_first_mode"], first["mode"], cell["mode"]) == (1, "float32", "bf16")
    assert cell["times_first_mode"] == pytest.approx(first["seconds_per_iteration"] / cell["seconds_per_iteration"])
    assert first["over_floor"] > 1
    assert sum(cell["shares"].values()) == pytest.approx(1)
    assert cell["shares"]["augmentation"] > 0
    assert len(cell["step_seconds"]) == 3
    assert cell["steps_per_iteration"] == 3
    assert cell["seconds_per_iteration"] == pytest.approx(3 * sorted(cell["step_seconds"])[1])
    assert cell["peak_memory_mib"] > 0
    assert "| dsa | fashion_mnist | 16 | 10 | 0 | bf16 |" in (results / "bench2.md").read_text()
    assert (results / "bench1.md").read_text() == "an earlier table"
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def test_an_unknown_task_is_one_line(tmp_path):
    done = bench(tmp_path, "task=[dmm]")
    assert done.returncode == 2
    assert done.stderr.startswith("error: task=dmm: unknown; choose among cmi, datm, dc, dm")


@pytest.mark.parametrize(("mode", "lacks"), [("tf32", "TF32"), ("bf16 compiled graphs", "CUDA graphs")])
def test_what_the_device_lacks_is_refused(tmp_path, mode, lacks):
    done = bench(tmp_path, "task=[dm]", f"mode=[float32,{mode}]", "device=cpu")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: mode={mode}: cpu has no {lacks}; ")


@pytest.mark.parametrize(("mode", "floor"), [("float32", 4), ("tf32 compiled", 2), ("bf16", 1)])
def test_the_floor_of_a_mode_is_that_of_its_precision(mode, floor, monkeypatch):
    monkeypatch.setattr(benchmark, "_apart", lambda function, *_: (8, 0) if function is count_step else ROW)
    rates = {"float32": Machine(2, 1), "tf32": Machine(4, 1), "bf16": Machine(8, 1)}
    workload = SimpleNamespace(label="dm")
    (row,) = benchmark._measured_cell(workload, SimpleNamespace(mode=[mode], steps=1), rates)
    assert (row["floor_seconds"], row["over_floor"]) == (floor, pytest.approx(8 / floor))


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_the_rate_of_a_precision_is_that_of_products_in_it(precision, monkeypatch):
    """Whatever torch allowed before, and will allow again."""
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten.mm.default:
                seen.append((args[0].dtype, torch.get_float32_matmul_precision()))
            return func(*args, **(kwargs or {}))

    monkeypatch.setattr(torch, "empty", lambda *_, **__: torch.zeros(8))  # The copy is not what this is about.
    for before in ("highest", "high"):
        torch.set_float32_matmul_precision(before)
        try:
            with Watch():
                measure_machine(precision, torch.device("cpu"), side=4, repeats=1)
            assert torch.get_float32_matmul_precision() == before
        finally:
            torch.set_float32_matmul_precision("highest")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    assert set(seen) == {(dtype, "high" if precision == "tf32" else "highest")}


class Queue:
    """A device that is given work at once and does it when waited for, and the clock beside it."""

    def __init__(self):
        self.now = self.queued = 0.0

    def give(self, seconds):
        self.queued += seconds

    def wait(self, device=None):
        self.now, self.queued = self.now + self.queued, 0.0


@pytest.fixture(params=["cuda", "mps"])
def queue(request, monkeypatch):
    queue = Queue()
    monkeypatch.setattr(getattr(torch, request.param), "synchronize", queue.wait)
    monkeypatch.setattr(time, "perf_counter", lambda: queue.now)
    return queue, torch.device(request.param)


def test_a_step_ends_when_the_device_has_done_it(queue):
    queue, device = queue
    assert timed_step((queue.give(3) for _ in range(2)), device) == 3


def test_the_device_works_for_the_part_that_asked_for_it(queue, monkeypatch):
    queue, device = queue
    monkeypatch.setattr(torch.autograd, "grad", lambda: queue.give(2))
    monkeypatch.setattr(torch.Tensor, "backward", lambda self: queue.give(3))
    with Shares(device) as shares:
        queue.give(5)  # A forward pass.
        torch.autograd.grad()
        torch.zeros(()).backward()
    assert shares.of(queue.now) == pytest.approx(
        {"data": 0, "augmentation": 0, "regulariser": 0, "backward": 0.5, "rest": 0.5}
    )


@pytest.mark.parametrize("way", ["siamese", "planned", "at once"])
def test_an_augmentation_counts_as_one_whichever_way_it_is_called(queue, monkeypatch, way):
    """DM's, MTT's, and that of a training."""
    queue, device = queue
    monkeypatch.setattr(augmentation, "flip", lambda images, _: (queue.give(1), images)[1])
    images, draws = torch.zeros(2, 1, 8, 8), torch.Generator()
    with Shares(device) as shares:
        if way == "siamese":
            both = Split(images, torch.arange(2))
            Augmentation("flip").siamese(both, both, 2, draws)
        elif way == "planned":
            (plan,) = placed([Augmentation("flip").per_image(2, draws).plan(images)], images.device)
            plan(images)
        else:
            Augmentation("flip").per_image(2, draws)(images)
    assert queue.now > 0
    assert shares.of(queue.now)["augmentation"] == 1


def test_rates_are_taken_of_what_the_device_has_done(queue, monkeypatch):
    queue, device = queue
    queue.give(100)  # Left over from before: nobody's.
    assert roofline._seconds(lambda: queue.give(2), device) == 2


def test_the_counter_counts_two_operations_for_every_multiply_add():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    with Counter() as counter:
        a @ b
    assert counter.operations == 2 * 3 * 5 * 7
    assert counter.bytes == 4 * (15 + 35 + 21)


def small_workload(tmp_path, task, *more, size=16):
    method = method_of(task)
    words = [f"method={method}", "dataset=mnist", "network.width=8", "ipc=2", f"buffers_root={tmp_path}"]
    words += [*TINY_METHOD[method], "cmi.lambda=1", "cmi.teacher=convnet", "cmi.pool=1", "cmi.epochs=1", *more]
    return Workload(task, compose(words), size, 8, torch.device("cpu"))


@pytest.mark.parametrize("task", [*METHODS, *OTHERS])
def test_every_task_is_measured(tmp_path, task):
    workload = small_workload(tmp_path, task, size=None if task == "evaluation" else 16)
    row = measure(workload, "float32", 1)
    assert row["seconds_per_iteration"] >= row["step_seconds"][0] > 0
    assert sum(row["shares"].values()) == pytest.approx(1)
    assert row["shares"]["augmentation"] > 0 or task in ("dc", "experts", "flat experts", "cmi")  # Those have none.
    operations, moved = count_step(workload)
    assert operations > moved > 0


@pytest.mark.parametrize("regularizer", ["iid", "mim4dd"])
def test_every_regulariser_has_its_share(tmp_path, regularizer):
    row = measure(small_workload(tmp_path, "dm", f"regularizer=[{regularizer}]", "cmi.lambda=0"), "float32", 1)
    assert row["shares"]["regulariser"] > 0


def test_an_iteration_has_the_steps_of_its_method_whatever_its_settings_are_called(tmp_path, monkeypatch):
    class Mine(METHODS["dm"]):
        steps_per_iteration, plain_steps = 6, 3

        def matches(self, iteration):
            for _ in range(6):
                yield from super().matches(iteration)

    monkeypatch.setitem(METHODS.built_in, "dm", Mine)
    row = measure(small_workload(tmp_path, "dm"), "float32", 1)
    assert row["steps_per_iteration"] == 3
    assert row["seconds_per_iteration"] == pytest.approx(3 * row["step_seconds"][0])


@pytest.mark.parametrize(("method", "ipc", "images"), [("ncfm", 2, 350), ("mtt", 2, 26), ("datm", 30, 30)])
def test_an_estimate_has_as_many_real_images_as_a_step_matches_or_a_set_starts_from(
    monkeypatch, tmp_path, method, ipc, images
):
    asked, small = [], estimate._small
    monkeypatch.setattr(estimate, "_small", lambda *given: asked.append(given[2]) or small(*given))
    more = ["method.batch_real=350"] if method == "ncfm" else []
    settings = compose([*TINY, *TINY_METHOD[method], *more, f"ipc={ipc}", f"buffers_root={tmp_path}"])
    assert estimate.timed_steps(settings, make_context(settings, torch.device("cpu"))).iteration > 0
    assert asked == [images]
