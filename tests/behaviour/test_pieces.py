"""Long work is kept in pieces: epochs of teachers and experts, networks of baselines and evaluations. Whoever goes on
with it ends with the same bits.
"""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from cmidd.analysis.grouping import cells
from cmidd.analysis.results import read_results
from cmidd.buffers.experts import ExpertRecipe, Experts, ExpertSettings
from cmidd.buffers.teachers import TeacherPool
from cmidd.cli.compose import compose
from cmidd.compute import kept, training
from cmidd.compute.kept import train_kept
from cmidd.compute.recipe import TrainingRecipe, stated
from cmidd.compute.training import train
from cmidd.core.context import new_network
from cmidd.data.load import load_dataset
from cmidd.evaluation import evaluate as evaluation
from cmidd.evaluation.baselines import baselines
from cmidd.evaluation.evaluate import evaluate
from cmidd.evaluation.protocols import EvaluationProtocol
from cmidd.runs.identity import comparable
from cmidd.runs.run import run
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import cache, files, tensor_files
from cmidd.utils.nested import merged
from cmidd.utils.random_streams import Streams
from tests.support.contexts import context
from tests.support.evaluations import evaluated
from tests.support.refusals import bytes_of, edited, put, refused, script, without
from tests.support.runs import TINY, TINY_METHOD, Killed, again, run_here, run_until


@pytest.fixture
def at_once(monkeypatch):
    """Every epoch is kept, however quick."""
    monkeypatch.setattr(kept, "KEPT_SECONDS", 0.0)


def dying(monkeypatch, module, name, calls):
    """Have ``module.name`` do its work ``calls`` times and then die; returns what undoes that."""
    whole, count = getattr(module, name), iter(range(calls))

    def call(*arguments, **options):
        outcome = whole(*arguments, **options)
        if next(count, None) is None:
            raise Killed
        return outcome

    monkeypatch.setattr(module, name, call)
    return lambda: monkeypatch.setattr(module, name, whole)


def counting(monkeypatch, module, name):
    """How often ``module.name`` is called, as a list that grows."""
    whole, calls = getattr(module, name), []
    monkeypatch.setattr(module, name, lambda *a, **b: calls.append(1) or whole(*a, **b))
    return calls


# --- epochs


@pytest.mark.parametrize(("schedule", "epochs"), [("constant", 3), ("halfway", 6), ("late", 4)])
def test_a_training_that_is_stopped_goes_on_to_the_same_bits(tmp_path, monkeypatch, at_once, schedule, epochs):
    data = load_dataset("digits")
    recipe = TrainingRecipe(epochs=epochs, lr=0.05, batch=512, schedule=schedule)
    options = {"name": "convnet", "width": 8, "depth": 1, "norm": "batchnorm"}
    start = new_network(data, options, Streams(0)("network"))
    made_by, whole = {"it": 1}, new_network(data, options, Streams(0)("network"))
    train(whole, data.train, recipe, Streams(3), what=None)
    for stopped_after in (1, len(recipe.learning_rates) - 1):
        keep = tmp_path / f"{stopped_after}.safetensors"
        network = new_network(data, options, Streams(0)("network"))
        revive = dying(monkeypatch, tensor_files, "write_tensors", stopped_after - 1)
        with pytest.raises(Killed):
            train_kept(network, data.train, recipe, Streams(3), what=None, keep=keep, made_by=made_by)
        revive()
        assert tensor_files.read_tensors(keep)[1]["epoch"] == stopped_after
        network = new_network(data, options, Streams(1)("network"))
        steps = counting(monkeypatch, training, "train_step")
        train_kept(network, data.train, recipe, Streams(3), what=None, keep=keep, made_by=made_by)
        assert len(steps) == 3 * (len(recipe.learning_rates) - stopped_after)
        for name, value in whole.state_dict().items():
            assert torch.equal(value, network.state_dict()[name]), (stopped_after, name)
    assert not torch.equal(start.classifier.weight, whole.classifier.weight)


def test_what_is_kept_of_another_training_is_refused_and_what_diverged_is_not_kept(tmp_path, at_once):
    world, keep = context(tmp_path, depth=1), tmp_path / "network.safetensors"
    recipe = TrainingRecipe(epochs=2)

    def go_on(recipe=recipe, made_by=1):
        network = world.new_network(Streams(0)("network"))
        train_kept(network, world.data.train, recipe, Streams(0), what=None, keep=keep, made_by={"it": made_by})

    go_on(replace(recipe, lr=1e30))
    assert not keep.exists()
    go_on()
    kept = keep.read_bytes()
    refused("pieces", "settings", lambda: go_on(made_by=2), keep)
    for flaw in (without("classifier.weight"), put("classifier.weight", torch.zeros(2)), without("epoch")):
        edited(flaw)(keep)
        refused("pieces", flaw, go_on, keep)
        keep.write_bytes(kept)


def test_a_teacher_is_gone_on_with_and_what_was_kept_of_it_goes(tmp_path, monkeypatch, at_once):
    whole = TeacherPool(context(tmp_path / "whole"), "convnet", 1, 3)
    revive = dying(monkeypatch, tensor_files, "write_tensors", 1)
    with pytest.raises(Killed):
        TeacherPool(context(tmp_path / "killed"), "convnet", 1, 3)
    revive()
    (kept,) = (tmp_path / "killed").rglob("teacher_000.unfinished.safetensors")
    leftover = kept.read_bytes()
    steps = counting(monkeypatch, training, "train_step")
    killed = TeacherPool(context(tmp_path / "killed"), "convnet", 1, 3)
    assert len(steps) == 6
    assert not kept.exists()
    for pair in zip(*(pool.networks[0].parameters() for pool in (whole, killed)), strict=True):
        assert torch.equal(*pair)
    kept.write_bytes(leftover)  # As if it had been killed just before removing it.
    TeacherPool(context(tmp_path / "killed"), "convnet", 1, 3)
    assert not kept.exists()


# --- experts


def settings(epochs=None, momentum=0.0, dtype="float32", count=2, **more):
    return ExpertSettings(count, ExpertRecipe(epochs=epochs, momentum=momentum, batch=512, **more), dtype)


def sets_of(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*.safetensors")}


@pytest.mark.parametrize(
    ("momentum", "dtype"), [(0.0, "float32"), (0.9, "float32"), (0.0, "float16"), (0.9, "float16")]
)
def test_experts_of_which_more_is_asked_for_are_extended_as_if_made_at_once(tmp_path, monkeypatch, momentum, dtype):
    asked = settings(momentum=momentum, dtype=dtype)
    at_once = Experts(context(tmp_path / "once", depth=1), asked.reaching(4))
    short = Experts(context(tmp_path / "later", depth=1), asked.reaching(1))
    assert short.folder.name == at_once.folder.name
    steps = counting(monkeypatch, training, "train_step")
    later = Experts(context(tmp_path / "later", depth=1), asked.reaching(4))
    assert len(steps) == 2 * 3 * 3
    assert sets_of(later.folder) == sets_of(at_once.folder)
    assert not torch.equal(*later.segment(1, 3, 4))
    Experts(context(tmp_path / "later", depth=1), asked.reaching(2))
    assert len(steps) == 2 * 3 * 3
    assert sets_of(later.folder) == sets_of(at_once.folder)


@pytest.mark.parametrize("schedule", ["constant", "halfway"])
def test_an_expert_that_is_stopped_goes_on_at_its_epoch(tmp_path, monkeypatch, at_once, schedule):
    asked = settings(3, 0.9, "float16", schedule=schedule)
    whole = Experts(context(tmp_path / "whole", depth=1), asked)
    revive = dying(monkeypatch, tensor_files, "write_tensors", 1)
    with pytest.raises(Killed):
        Experts(context(tmp_path / "killed", depth=1), asked)
    revive()
    steps = counting(monkeypatch, training, "train_step")
    killed = Experts(context(tmp_path / "killed", depth=1), asked)
    epochs = len(asked.training.learning_rates)
    assert len(steps) == 3 * (2 * epochs - 2)
    assert sets_of(killed.folder) == sets_of(whole.folder)
    tensors = tensor_files.read_shapes(killed.paths[0])[0]
    assert tensors["trajectory"] == [epochs + 1, killed.size]
    assert tensors.keys() == {"trajectory", *(("last", "momentum") if schedule == "constant" else ())}


def test_where_the_schedule_depends_on_the_length_each_length_is_a_buffer_of_its_own(tmp_path):
    world = context(tmp_path, depth=1)
    for schedule, folders in (("constant", 1), ("halfway", 2), ("late", 2)):
        found = {Experts(world, settings(epochs, schedule=schedule, count=1)).folder for epochs in (1, 2)}
        assert len(found) == folders


def from_before(world, asked, epochs):
    """A buffer of the time when the length was in the key."""
    new = Experts(replace(world, buffers=world.buffers / "new"), asked.reaching(epochs))
    made_by = {**new.made_by, "training": stated(replace(asked.training, epochs=epochs))}
    folder = world.buffers / "experts" / f"digits_{cache.fingerprint(made_by)}"
    for path in new.paths:
        tensor_files.write_tensors(folder / path.name, tensor_files.read_tensors(path)[0], {"made_by": made_by})
    files.write_json(folder / "settings.json", made_by)
    return folder


def test_a_buffer_from_before_is_read_where_it_is_long_enough_and_never_changed(tmp_path, monkeypatch):
    world, asked = context(tmp_path / "buffers", depth=1), settings()
    folder = from_before(world, asked, 3)
    (folder / "expert_001.safetensors").unlink()  # It was never finished.
    files.write_text(folder.with_name("digits_damaged") / "settings.json", "{")
    before, steps = bytes_of(folder), counting(monkeypatch, training, "train_step")
    experts = Experts(world, asked.reaching(2))
    assert [path.parent == folder for path in experts.paths] == [True, False]
    assert len(steps) == 3 * 2
    assert torch.equal(experts.segment(0, 0, 2)[1], tensor_files.read_tensors(experts.paths[0])[0]["trajectory"][2])
    assert folder not in {path.parent for path in Experts(world, asked.reaching(4)).paths}
    assert folder not in {path.parent for path in Experts(world, settings(2, 0.5)).paths}
    assert bytes_of(folder) == before


def test_mtt_trains_experts_as_far_as_it_reads_them_and_refuses_fewer_in_every_stage(tmp_path):
    words = [word for word in TINY_METHOD["mtt"] if "epochs" not in word]
    words += ["method.max_start_epoch=2", "method.expert_epochs=2"]
    run_here(tmp_path / "results", "mtt", *words, "method.experts.training.epochs=null")
    shapes = [
        tensor_files.read_shapes(path)[0]["trajectory"][0]
        for path in (tmp_path / "buffers").rglob("expert_*.safetensors")
    ]
    assert shapes == [4, 4]
    words += ["method.experts.training.epochs=3", "schedule=pdd", "schedule.stages=2"]
    words += ["schedule.overrides=[{max_start_epoch: 3}]", f"results_root={tmp_path}", f"buffers_root={tmp_path}/b"]
    chosen = compose([*TINY, "method=mtt", *words])
    refused("pieces", words, lambda: run(chosen, lambda _: {}), "method.experts.training.epochs=3", "at least 4")


# --- networks


def worth(world, stages, repeats, streams, kept=None):
    """What :func:`evaluate` says in a world."""
    return evaluate(world.data, world.network, stages, repeats, streams, kept=kept, made_by=world.made_by)


def test_an_evaluation_that_is_stopped_goes_on_with_the_next_network(tmp_path, monkeypatch):
    world, kept = context(tmp_path, depth=1), tmp_path / "kept.json"
    stages = [(world.synthetic.decode(), TrainingRecipe(epochs=1))]
    whole = worth(world, stages, 5, Streams(0))
    revive = dying(monkeypatch, files, "write_json", 2)
    with pytest.raises(Killed):
        worth(world, stages, 5, Streams(0), kept)
    revive()
    trained = counting(monkeypatch, evaluation, "predictions")
    assert worth(world, stages, 5, Streams(0), kept) == whole
    assert len(trained) == 2
    others = [(world, stages, Streams(1)), (world, [(stages[0][0], TrainingRecipe(epochs=2))], Streams(0))]
    others += [(context(tmp_path, depth=2), stages, Streams(0)), (replace(world, data_key={}), stages, Streams(0))]
    for count, (another, other, streams) in enumerate(others, 1):
        worth(another, other, 1, streams, kept)
        assert len(trained) == 2 + count


def test_a_run_that_is_killed_in_its_evaluation_ends_with_the_same_record(tmp_path, monkeypatch):
    words = ["evaluation.repeats=3", "evaluation.baselines=[random]"]
    trained = counting(monkeypatch, evaluation, "predictions")
    whole = run_here(tmp_path / "whole", "dm", *words)
    assert len(trained) == 6
    shutil.rmtree(tmp_path / "buffers")
    for _ in range(2):
        revive = dying(monkeypatch, evaluation, "predictions", 2)  # In the third network, then in the baseline.
        with pytest.raises(Killed):
            run_here(tmp_path / "cut", "dm", *words)
        revive()
    cut = run_here(tmp_path / "cut", "dm", *words)
    assert len(trained) == 6 + 8  # Two of them died.
    records = [json.loads((folder / "result.json").read_text()) for folder in (whole, cut)]
    for name in ("evaluations", "baselines"):
        assert records[0][name] == records[1][name]
    assert {path.name for path in whole.iterdir()} == {path.name for path in cut.iterdir()}
    assert len(list((tmp_path / "buffers").rglob("*.json"))) == 1


def test_a_table_of_several_networks_is_gone_on_with(tmp_path, monkeypatch):
    synthetic = SyntheticSet.from_real(load_dataset("digits"), 1, Streams(0)("init"))
    synthetic.about = {"data": {"name": "digits"}, "network": {"name": "mlp"}, "training": {"epochs": 1}}
    synthetic.save(tmp_path / "synthetic.safetensors")
    words = [f"synthetic={tmp_path}/synthetic.safetensors", "networks=[mlp,{name: mlp}]", "repeats=2"]
    revive = dying(monkeypatch, evaluation, "predictions", 3)
    with pytest.raises(Killed):
        evaluated(*words)
    revive()
    trained = counting(monkeypatch, evaluation, "predictions")
    evaluated(*words)
    assert len(trained) == 1
    evaluated(*words)
    tables = [json.loads((tmp_path / f"synthetic.evaluation{n}.json").read_text())["accuracies"] for n in (1, 2)]
    assert tables[0] == tables[1]
    assert len(list(tmp_path.iterdir())) == 5


# --- baselines


def test_the_whole_data_set_is_measured_where_it_is_cheap_and_comes_along_where_it_was_measured(tmp_path):
    assert compose(["method=dm"]).evaluation.baselines == ("random", "whole")
    assert compose(["method=dm", "dataset=cifar10"]).evaluation.baselines == ("random",)
    world, recipe = context(tmp_path, depth=1), TrainingRecipe(epochs=1)
    protocol = EvaluationProtocol(2, 1, recipe, recipe)
    assert list(baselines(world, protocol, 1)) == ["random"]
    whole = baselines(world, replace(protocol, baselines=("whole",)), 1)
    assert baselines(world, protocol, 1) == baselines(world, replace(protocol, baselines=("whole", "random")), 1)
    assert baselines(world, protocol, 1)["whole"] == whole["whole"]
    assert baselines(world, replace(protocol, baselines=()), 1) == {}


def test_baselines_are_measured_alone_and_are_those_of_a_run(tmp_path):
    words = [*TINY, *TINY_METHOD["dm"], "ipc=2"]
    code, out, err = script("baselines", *words, "evaluation.baselines=[random]", cwd=tmp_path)
    assert code == 0, err
    (path,) = (tmp_path / "results").rglob("*.json")
    assert path.parent == tmp_path / "results" / "digits" / "baselines"
    record = json.loads(path.read_text())
    said = f"{record['mean']:.2f} +- {record['spread']:.2f} (n=2) per cent on test"
    assert f"digits, 2 random images per class, as dm evaluates: {said}" in out
    assert (record["method"], record["ipc"], record["dataset"]) == ("dm", 2, "digits")
    assert set(record["differs_from_recipe"]) == {
        *("network.width", "evaluation.repeats", "evaluation.training.epochs"),
    }
    code, _, err = script("distill", *words, "evaluation.baselines=[random]", cwd=tmp_path)
    (result,) = (tmp_path / "results").rglob("result.json")
    assert json.loads(result.read_text())["baselines"] == {"random": record["accuracies"]}
    assert len(list((tmp_path / "buffers").rglob("*.json"))) == 1


# --- runs from before


def aged(path, **more):
    """Have a record or settings.json say what it said when experts had 50 epochs and both baselines were measured."""
    content = json.loads(path.read_text())
    own = content.get("settings", content)
    own["method"]["experts"]["training"]["epochs"] = 50
    del own["method"]["experts"]["dtype"]
    own["evaluation"]["baselines"] = ["random", "whole"]
    own.update(more)
    path.write_text(json.dumps(content))


def test_a_run_from_before_goes_on_and_shares_a_cell_with_new_ones(tmp_path):
    words = ["method.experts.training.epochs=null"]
    run_until(2, "checkpoint.safetensors", tmp_path / "results", "mtt", "checkpoint_seconds=0", *words)
    (path,) = (tmp_path / "results").rglob("settings.json")
    aged(path)
    again(tmp_path / "results", *words, method="mtt")
    aged(
        path.with_name("result.json"),
    )
    content = json.loads(path.with_name("result.json").read_text())
    content["differs_from_recipe"] = {
        "method.experts.training.epochs": [50, 4],
        "evaluation.baselines": [[], ["random"]],
    }
    path.with_name("result.json").write_text(json.dumps(content))
    run_here(tmp_path / "results", "mtt", "seed=1", *words)
    (cell,) = cells(read_results([tmp_path / "results"])).values()
    assert len(cell.results) == 2
    assert cell.changed == {}


def test_the_length_of_experts_is_compared_only_where_it_matters_in_every_stage():
    def run_of(epochs, in_stage, **training):
        method = {"name": "mtt", "experts": {"count": 2, "training": {"epochs": epochs, **training}}}
        schedule = {"name": "seqmatch", "overrides": [{"max_start_epoch": 8, **in_stage}]}
        return {"method": method, "schedule": schedule}

    twenty = {"experts": {"training": {"epochs": 20}}}
    late = {"experts": {"training": {"schedule": "late"}}}
    assert comparable(run_of(50, twenty)) == comparable(run_of(None, {}))
    for one, other in [
        (run_of(50, {}, schedule="halfway"), run_of(None, {}, schedule="halfway")),
        (run_of(None, twenty, schedule="late"), run_of(None, {}, schedule="late")),
        (run_of(None, merged(late, twenty)), run_of(None, late)),
        (run_of(None, {"experts": {"count": 3}}), run_of(None, {})),
    ]:
        assert comparable(one) != comparable(other)


@pytest.mark.parametrize("name", ["datm", "one_of_my_own"])
def test_the_length_of_experts_matters_to_methods_that_may_read_how_they_end(name):
    short, long = ({"method": {"name": name, "experts": {"training": {"epochs": epochs}}}} for epochs in (40, 80))
    assert comparable(short) != comparable(long)
