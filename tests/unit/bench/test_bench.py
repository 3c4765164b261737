"""The bench measures real steps of real methods, and writes what it measured."""

import functools
import json

import pytest
import torch

from cmidd.bench import benchmark
from cmidd.bench.benchmark import count_step, measure
from cmidd.bench.roofline import Counter
from cmidd.bench.workloads import OTHERS, Workload, method_of
from cmidd.cli.compose import compose
from cmidd.methods import METHODS
from cmidd.runs.build import make_context
from tests.support.forked import ROOT, as_main, forked
from tests.support.runs import TINY_METHOD


def bench(cwd, *words):
    return forked(bench_on_a_small_product, *words, cwd=cwd)


def bench_on_a_small_product(*words):
    benchmark.measure_machine = functools.partial(benchmark.measure_machine, side=256, repeats=2)
    as_main(ROOT / "scripts" / "bench.py", *words)


def test_steps_and_memory_are_recorded_beside_what_was_there(tmp_path):
    words = ("network.width=8", "method.outer_loop=3", "method.net.epochs=1", "method.batch_real=8")
    small = "overrides.dsa=[" + ",".join(f"'{word}'" for word in words) + "]"
    results = tmp_path / "results"
    results.mkdir()
    (results / "bench1.md").write_text("an earlier table")
    words = [
        "task=[dsa]",
        "dataset=[fashion_mnist]",
        "mode=[plain,float32]",
        "images_per_class=8",
        "steps=3",
        "image_size=[16]",
        small,
    ]
    done = bench(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    plain, cell = json.loads((results / "bench2.json").read_text())["cells"]
    assert cell["image_size"] == 16
    assert (plain["times_first_mode"], plain["mode"], cell["mode"]) == (1, "plain", "float32")
    assert cell["times_first_mode"] == pytest.approx(plain["seconds_per_iteration"] / cell["seconds_per_iteration"])
    assert cell["over_floor"] > 1
    assert sum(cell["shares"].values()) == pytest.approx(1)
    assert len(cell["step_seconds"]) == 3
    assert cell["steps_per_iteration"] == 3
    assert cell["seconds_per_iteration"] == pytest.approx(3 * sorted(cell["step_seconds"])[1])
    assert cell["peak_memory_mib"] > 0
    assert "| dsa | fashion_mnist | 16 | 10 | 0 | float32 |" in (results / "bench2.md").read_text()
    assert (results / "bench1.md").read_text() == "an earlier table"
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def test_an_unknown_task_is_one_line(tmp_path):
    done = bench(tmp_path, "task=[dmm]")
    assert done.returncode == 2
    assert done.stderr.startswith("error: task=dmm: unknown; choose among cmi, dc, dm")


def plain_and_ours(method, *more):
    """One optimiser step of a method as its reference takes it, and as we take it: the images after both."""
    words = [f"method={method}", "dataset=digits", "network.width=8", "ipc=2", *more]
    sets = []
    for in_plain in (True, False):
        settings = compose(words)
        context = make_context(settings, torch.device("cpu"))
        work = Workload(method, settings, None, 1, context.data.device).steps(context, in_plain)
        next(work)
        sets.append(context.synthetic.images.detach().clone())
    return sets


@pytest.mark.parametrize("method", ["dm", "dc"])
def test_the_plain_step_is_the_methods_own_when_it_takes_whole_classes_and_augments_nothing(method):
    """With all real images in a batch both see the same; what is drawn in another order is then the same too."""
    words = ["method.batch_real=1000", "method.augment.strategy=none", "method.init=real"]
    ours, plain = plain_and_ours(method, *words)
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


def test_the_counter_counts_two_operations_for_every_multiply_add():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    with Counter() as counter:
        a @ b
    assert counter.operations == 2 * 3 * 5 * 7
    assert counter.bytes == 4 * (15 + 35 + 21)


@pytest.mark.parametrize("task", [*METHODS, *OTHERS])
def test_every_task_is_measured_as_the_references_do_it_and_as_we_do(tmp_path, task):
    method = method_of(task)
    words = [f"method={method}", "dataset=mnist", "network.width=8", "ipc=2", f"buffers_root={tmp_path}"]
    words += [*TINY_METHOD[method], "cmi.lambda=1", "cmi.teacher=convnet", "cmi.pool=1", "cmi.epochs=1"]
    size = None if task == "evaluation" else 16
    workload = Workload(task, compose(words), size, 8, torch.device("cpu"))
    for mode in ("plain", "float32"):
        row = measure(workload, mode, 1)
        assert row["seconds_per_iteration"] >= row["step_seconds"][0] > 0
        assert sum(row["shares"].values()) == pytest.approx(1)
    operations, moved = count_step(workload)
    assert operations > moved > 0
