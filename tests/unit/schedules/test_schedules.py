"""Stages: one is the plain method, finished ones stay, networks and experts go through them, and so does evaluation."""

import json

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from cmidd import load_synthetic
from cmidd.analysis.results import read_results
from cmidd.analysis.verify import verify
from cmidd.cli.compose import compose
from cmidd.compute.recipe import TrainingRecipe
from cmidd.compute.training import accuracy, train, train_step
from cmidd.core.context import Context
from cmidd.data.load import load_dataset
from cmidd.evaluation.evaluate import evaluate
from cmidd.evaluation.train_on_set import stages_of, train_through
from cmidd.runs.record import read_record
from cmidd.samplers.random import RandomSampler
from cmidd.schedules.pdd import PDD, WarmNetworks
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import files, tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.evaluations import subject
from tests.support.runs import TINY, TINY_METHOD, distill, run_here, run_until

TWO = ["schedule=seqmatch", "schedule.warm_epochs=1", "schedule.pool=2", "ipc=5"]
RECIPE = TrainingRecipe(epochs=2, batch=16)


@pytest.fixture
def context(tmp_path):
    data = load_dataset("digits")
    synthetic = SyntheticSet.from_real(data, 3, Streams(0)("init"))
    options = {"name": "convnet", "width": 4, "depth": 2}
    return Context(data, synthetic, Streams(0), tmp_path, options, {"name": "digits"}, RandomSampler(data))


def add_stage(context, ipc=2):
    new = SyntheticSet.from_real(context.data, ipc, context.streams("more"))
    context.synthetic.begin_stage(new.leaf, new.leaf_labels)


@pytest.mark.parametrize("method", ["dm", "dsa", "idc", "idm", "mtt"])
def test_one_stage_is_the_plain_method_bit_for_bit(tmp_path, method):
    folders = [run_here(tmp_path / "results", method, *words) for words in ([], ["schedule=pdd", "schedule.stages=1"])]
    images = [load_synthetic(folder / "synthetic.safetensors").images for folder in folders]
    assert torch.equal(*images)
    records = [json.loads((folder / "result.json").read_text()) for folder in folders]
    assert records[0]["evaluations"] == records[1]["evaluations"]


@pytest.mark.parametrize("method", ["idc", "mtt"])
def test_a_finished_stage_never_changes_and_a_killed_run_goes_on_to_the_same_bits(tmp_path, method):
    words = [*TWO, "cmi.lambda=1", "checkpoint_seconds=0"]
    whole = run_here(tmp_path / "whole", method, *words)
    run_until(2, "checkpoint_stage2.safetensors", tmp_path / "results", method, *words)
    resumed = run_here(tmp_path / "results", method, *words)
    first, second = (load_synthetic(folder / "synthetic.safetensors") for folder in (whole, resumed))
    assert torch.equal(first.images, second.images)
    records = [json.loads((folder / "result.json").read_text()) for folder in (whole, resumed)]
    assert records[0]["evaluations"] == records[1]["evaluations"]
    lines = [(folder / "metrics.jsonl").read_text() for folder in (whole, resumed)]
    assert lines[0] == lines[1]
    leaf = tensor_files.read_tensors(whole / "checkpoint.safetensors")[0]["leaf_0"]
    assert torch.equal(first.finished[0].images, leaf)
    assert first.labels.bincount().tolist() == [5] * 10
    assert first.stages.bincount().tolist() == [30, 20]


def test_a_staged_set_loads_with_its_stages_and_their_step_sizes(context, tmp_path):
    synthetic = context.synthetic
    synthetic.syn_lr = torch.tensor(0.25)
    before = synthetic.leaf
    add_stage(context)
    synthetic.syn_lr = torch.tensor(0.5)
    synthetic.save(tmp_path / "set.safetensors")
    loaded = load_synthetic(tmp_path / "set.safetensors")
    assert torch.equal(loaded.images, synthetic.images)
    assert torch.equal(loaded.labels, synthetic.labels)
    assert torch.equal(loaded.images[loaded.stages == 0], before)
    lessons = stages_of(loaded, RECIPE)
    assert [len(data) for data, _ in lessons] == [30, 50]
    assert [recipe.lr for _, recipe in lessons] == [0.25, 0.5]
    loaded.forget_syn_lr()
    assert [recipe.lr for _, recipe in stages_of(loaded, RECIPE)] == [RECIPE.lr] * 2


def test_a_set_of_one_stage_is_evaluated_by_training_on_it(context):
    streams = Streams(5)
    own = streams.child("repeat", 0)
    network = context.new_network(own("network"))
    train(network, context.synthetic.decode(), RECIPE, own, what=None)
    measured = evaluate(context.data, context.network, stages_of(context.synthetic, RECIPE), 1, streams)
    assert measured == [accuracy(network, context.data.test)]


def test_a_staged_set_is_evaluated_by_training_on_all_stages_so_far_in_turn(context):
    first = context.synthetic.decode()
    add_stage(context)
    streams = Streams(5)
    slow, ours = (context.new_network(streams("network")) for _ in range(2))
    train(slow, first, RECIPE, streams, what=None)
    train(slow, context.synthetic.decode(), RECIPE, streams.child("lesson", 1), what=None)
    train_through([ours], stages_of(context.synthetic, RECIPE), [streams], what=None)
    assert torch.equal(*(parameters_to_vector(network.parameters()) for network in (slow, ours)))


@pytest.mark.parametrize("schedule", ["halfway", "late"])
def test_a_stage_may_take_over_the_momentum_of_the_stage_before_but_not_its_learning_rate(context, schedule):
    recipe = TrainingRecipe(epochs=3, batch=16, schedule=schedule)
    add_stage(context)
    lessons = stages_of(context.synthetic, recipe)
    slow, carried, fresh = (context.new_network(Streams(5)("network")) for _ in range(3))
    optimizer = recipe.new_optimizer(slow)
    for number, (data, _) in enumerate(lessons):
        streams = Streams(5).child("lesson", number) if number else Streams(5)
        for epoch, lr in enumerate(recipe.learning_rates):
            if schedule == "halfway" and epoch and lr != recipe.learning_rates[epoch - 1]:
                optimizer.state.clear()
            optimizer.param_groups[0]["lr"] = lr
            generator = streams("train", epoch)
            for chunk in torch.randperm(len(data), generator=generator).split(16):
                train_step(slow, optimizer, data[chunk], recipe, generator)
    train_through([carried], lessons, [Streams(5)], what=None, optimizer="carried")
    train_through([fresh], lessons, [Streams(5)], what=None)
    vectors = [parameters_to_vector(network.parameters()) for network in (slow, carried, fresh)]
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[1], vectors[2])


def test_a_set_says_how_it_was_evaluated_and_is_evaluated_so_again(tmp_path):
    words = [*TWO, "evaluation.optimizer=carried", "evaluation.training.epochs=6"]
    folder = run_here(tmp_path / "results", "idc", *words)
    assert load_synthetic(folder / "synthetic.safetensors").about["optimizer"] == "carried"
    record = files.read_json(folder / "result.json")
    assert record["optimizer_between_stages"] == record["settings"]["evaluation"]["optimizer"] == "carried"
    (result,) = read_results([tmp_path / "results"])
    again = verify(result, torch.device("cpu"), buffers_root=str(tmp_path / "buffers"))
    assert again.verdict == "equal"
    assert subject(folder / "synthetic.safetensors").subject.optimizer == "carried"


def test_experts_of_a_later_stage_start_from_networks_trained_through_the_earlier_ones(context):
    from cmidd.buffers.experts import Experts, ExpertSettings

    world = PDD(stages=2, warm_epochs=1, pool=1).stage_context(1, context, RECIPE)
    settings = ExpertSettings(count=1, training=TrainingRecipe(epochs=1))
    plain, warm = (Experts(each, settings) for each in (context, world))
    assert plain.folder != warm.folder
    streams = Streams(0).child("expert", 0)
    network = context.new_network(streams("network"))
    assert torch.equal(plain.segment(0, 0, 1)[0], parameters_to_vector(network.parameters()))
    lessons = stages_of(context.synthetic, TrainingRecipe(epochs=1, batch=16))
    train_through([network], lessons, [streams.child("warm")], what=None)
    assert torch.equal(warm.segment(0, 0, 1)[0], parameters_to_vector(network.parameters()))


def test_networks_of_a_later_stage_are_copies_from_the_pool_the_same_for_the_same_draw(context):
    warm = WarmNetworks(context, stages_of(context.synthetic, RECIPE), context.streams, pool=2)
    drawn = [warm.draw(Streams(0)("network", iteration)) for iteration in range(6)]
    with torch.no_grad():
        drawn[0].classifier.bias += 1
    again = WarmNetworks(context, stages_of(context.synthetic, RECIPE), context.streams, pool=2)
    later = [again.draw(Streams(0)("network", iteration)) for iteration in range(6)]
    vectors = [torch.cat([p.flatten() for p in network.parameters()]) for network in later]
    assert len(torch.stack(vectors).unique(dim=0)) == 2
    for one, other in zip(drawn[1:], later[1:], strict=True):
        assert torch.equal(*(parameters_to_vector(network.parameters()) for network in (one, other)))


def test_a_later_stage_may_have_settings_of_its_own(tmp_path):
    words = [*TWO, "schedule.overrides=[{lr_teacher:0.5}]", "method.lr_teacher=0.25", "method.lr_lr=0"]
    loaded = load_synthetic(run_here(tmp_path / "results", "mtt", *words) / "synthetic.safetensors")
    assert float(loaded.finished[0].syn_lr) == 0.25
    assert float(loaded.syn_lr) == 0.5


def test_images_are_divided_as_evenly_as_can_be():
    sizes = {ipc: PDD(stages=3, warm_epochs=1, pool=1).sizes(ipc) for ipc in (3, 10, 50)}
    assert sizes == {3: [1, 1, 1], 10: [4, 3, 3], 50: [17, 17, 16]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["schedule=pdd", "ipc=1"], r"schedule.stages=5: more stages than images per class \(ipc=1\)"),
        (["schedule=pdd", "schedule.stages=0"], "schedule.stages=0: Input should be greater than 0"),
        (
            ["schedule=pdd", "schedule.overrides=[{lr_image:1}]"],
            "schedule.overrides.lr_image: unknown setting; did",
        ),
        (["schedule=pdd", "+schedule.warmth=1"], "schedule.warmth: unknown setting"),
    ],
)
def test_an_impossible_schedule_is_refused(words, message):
    with pytest.raises(SettingError, match=message):
        compose(words)


@pytest.mark.parametrize("sizes", [[2, 2], [0, 5], [2.5, 2.5]])
def test_a_schedule_of_ones_own_divides_the_images_there_are(monkeypatch, sizes):
    monkeypatch.setattr(PDD, "sizes", lambda self, ipc: sizes)
    with pytest.raises(SettingError, match=r"^schedule=pdd: its sizes\(5\) are \[.*\]; .* ipc=5 in all$"):
        compose(["schedule=pdd", "ipc=5"])


def test_stages_that_fit_may_be_given_where_those_of_the_recipe_do_not(tmp_path):
    words = [*TINY, *TINY_METHOD["dm"], "schedule=pdd", "schedule.stages=2", "schedule.warm_epochs=1", "ipc=2"]
    done = distill(tmp_path, *words, "evaluation.baselines=[]", tiny=False)
    assert done.returncode == 0, done.stderr
    (record,) = tmp_path.rglob("result.json")
    assert read_record(record).differs_from_recipe["schedule.stages"] == [2, 5]
