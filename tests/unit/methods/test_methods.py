"""What each objective does with its settings: step sizes, what passes through networks, queues, experts, batches."""

from dataclasses import replace

import pytest
import torch

from cmidd.cli.compose import compose
from cmidd.compute import passes
from cmidd.compute.embeddings import embed_real
from cmidd.compute.gradients import class_gradients, cosine, gradients_one_by_one, layerwise_cosine, squared
from cmidd.compute.recipe import TrainingRecipe
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.method import Method
from cmidd.data.augmentation import Augmentation
from cmidd.data.load import load_dataset
from cmidd.data.split import Split
from cmidd.methods import METHODS
from cmidd.networks import build_network
from cmidd.samplers.random import RandomSampler
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams

NONE = Augmentation("none")
NET = TrainingRecipe(batch=32)


@pytest.fixture
def context(tmp_path):
    data = load_dataset("digits")
    synthetic = SyntheticSet.from_real(data, 4, Streams(0)("init"), Formation())
    options = {"name": "convnet", "width": 4, "depth": 1}
    return Context(data, synthetic, Streams(0), tmp_path, options, {"name": "digits"}, RandomSampler(data))


def idm(context, **changes):
    given = {"lr_img": 0.2, "momentum": 0.5, "batch_real": 4, "ce_weight": 0.5, "queue_start": 2, "queue_size": 4}
    given |= {
        "net_generate_interval": 2,
        "fetch_nets": 1,
        "net_steps": 3,
        "meter_reset": 4,
        "augment": NONE,
        "net": NET,
    }
    return METHODS["idm"](context, **{**given, **changes})


def idc(context, **changes):
    given = {"lr_img": 0.01, "base_side": 32, "momentum": 0.5, "batch_real": 4, "batch_syn_max": 3, "distance": "mse"}
    return METHODS["idc"](
        context, **{**given, "inner_loop": 2, "net_images": 65, "augment": NONE, "net": NET, **changes}
    )


def mtt(context, experts, **changes):
    given = {"lr_img": 10.0, "momentum": 0.5, "syn_steps": 5, "expert_epochs": 1, "max_start_epoch": 2, "lr_lr": 1e-3}
    return METHODS["mtt"](
        context, **{**given, "lr_teacher": 0.02, "batch_syn": 16, "augment": NONE, "experts": experts, **changes}
    )


def steps(objective, count, first=0):
    """Iterate without stepping the set."""
    for iteration in range(first, first + count):
        for _ in objective.matches(iteration):
            pass


def test_step_sizes_of_joint_steps_hold_what_momentum_would_add_and_idcs_grow_with_the_set(context):
    """lr_img / (1 - momentum), for IDC times ipc / 10 times (side / base_side)^2."""
    (group,) = idm(context).optimizer().param_groups
    assert (group["lr"], group["momentum"]) == (pytest.approx(0.2 / 0.5), 0)
    (group,) = idc(context).optimizer().param_groups
    assert (group["lr"], group["momentum"]) == (pytest.approx(0.01 * 4 / 10 * (8 / 32) ** 2 / 0.5), 0)
    assert group["params"][0] is context.synthetic.leaf
    assert context.synthetic.leaf.requires_grad


def test_the_learned_step_size_has_a_learning_rate_of_its_own(context):
    from cmidd.buffers.experts import ExpertSettings

    experts = ExpertSettings(count=2, training=TrainingRecipe(epochs=2, batch=256))
    images, step_size = mtt(context, experts).optimizer().param_groups
    assert (images["lr"], images["momentum"], step_size["lr"], step_size["momentum"]) == (10.0, 0.5, 1e-3, 0.5)
    assert float(step_size["params"][0].detach()) == pytest.approx(0.02)
    with pytest.raises(SettingError, match=r"epochs=2: shorter than the trajectories asked for; set it to at least 3"):
        given = {"max_start_epoch": 2, "expert_epochs": 2, "experts": experts}
        METHODS["mtt"].refuse(given, context.blank_network())


def test_experts_come_in_shuffled_turns_and_students_see_every_image_before_one_again(context):
    from cmidd.buffers.experts import ExpertSettings

    objective = mtt(context, ExpertSettings(count=3, training=TrainingRecipe(epochs=2, batch=256)))
    asked, segment = [], objective.trained.segment
    objective.trained.segment = lambda *wanted: asked.append(wanted) or segment(*wanted)
    steps(objective, 30)
    turns = [[expert for expert, _, _ in asked[first : first + 3]] for first in range(0, 30, 3)]
    assert all(sorted(turn) == [0, 1, 2] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    assert {(start, end) for _, start, end in asked} == {(0, 1), (1, 2)}
    taken = objective._student_steps(0)
    assert [len(step.chunk) for step in taken] == [8, 16, 16, 8, 16]
    for few in (taken[:3], taken[3:]):
        chunks = torch.cat([step.chunk for step in few])
        assert len(chunks.unique()) == len(chunks)
    assert all(torch.equal(step.labels, context.synthetic.labels[step.chunk]) for step in taken)
    assert not torch.equal(taken[0].chunk, objective._student_steps(1)[0].chunk)


def test_the_student_handed_on_is_the_expert_where_the_segment_starts(context):
    from cmidd.buffers.experts import ExpertSettings

    objective = mtt(context, ExpertSettings(count=1, training=TrainingRecipe(epochs=2, batch=256)), max_start_epoch=1)
    (match,) = objective.matches(0)
    handed = torch.cat([parameter.detach().flatten() for parameter in match.network.parameters()])
    assert torch.equal(handed, objective.trained.segment(0, 0, 1)[0])
    assert match.images is context.synthetic.images


def test_the_queue_grows_to_its_size_and_then_the_oldest_leaves(context):
    objective = idm(context)
    lengths, oldest = [], []
    for iteration in range(8):
        steps_before = [id(queued) for queued in objective.queue]
        next(iter(objective.matches(iteration)))
        lengths.append(len(objective.queue))
        oldest.append(id(objective.queue[0]) == steps_before[0])
    assert lengths == [3, 3, 4, 4, 4, 4, 4, 4]
    assert oldest == [True, True, True, True, False, True, False, True]


def test_networks_of_the_queue_are_trained_and_their_accuracy_is_since_the_last_reset(context):
    objective = idm(context, queue_start=1, queue_size=1, net_generate_interval=1000, meter_reset=4)
    objective.queue = objective.queue[:1]
    seen = []
    for iteration in range(1, 9):
        steps_taken = list(objective.matches(iteration))
        assert len(steps_taken) == 1
        seen.append((objective.queue[0].seen, objective.queue[0].accuracy))
    assert [count for count, _ in seen] == [96, 192, 288, 96, 192, 288, 384, 96]
    assert seen[-2][1] > 15  # chance is 10
    assert all(0 <= accuracy <= 100 for _, accuracy in seen)
    assert objective.queue[0].accuracy == 100 * objective.queue[0].correct / 96


def test_accuracies_are_reset_at_exactly_the_iterations_of_a_list(context):
    objective = idm(context, queue_start=1, queue_size=1, net_generate_interval=1000, meter_reset=(3, 5))
    seen = []
    for iteration in range(1, 7):
        list(objective.matches(iteration))
        seen.append(objective.queue[0].seen)
    assert seen == [96, 192, 96, 192, 96, 192]
    for wrong in ("-1", "[]", "[0]", "true"):
        with pytest.raises(SettingError, match=r"^method\.meter_reset="):
            compose(["method=idm", f"method.meter_reset={wrong}"])


@pytest.mark.parametrize(("optimizer", "remembered"), [("sgd", "momentum"), ("adam", "exp_avg_sq")])
def test_a_queue_that_is_put_back_trains_on_to_the_same_bits(context, optimizer, remembered):
    net = TrainingRecipe(batch=32, optimizer=optimizer)
    objective, again = idm(context, net=net), idm(context, net=net)
    steps(objective, 3)
    kept = {name: tensor.clone() for name, tensor in objective.state().items()}
    again.load_state(kept)
    for each in (objective, again):
        steps(each, 4, first=3)
    expected = objective.state()
    assert again.state().keys() == expected.keys()
    assert any(name.endswith(f"/{remembered}") for name in expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.state().items())


def test_idc_takes_at_most_so_many_images_of_a_class_other_ones_each_step_and_clamps_pixels_once(context):
    objective = idc(context)
    chosen = list(objective.matches(0))
    assert [match.draw for match in chosen] == [0, 1]
    for match in chosen:
        assert match.labels.bincount().tolist() == [3] * 10
        assert match.scale == 10
    assert not torch.equal(chosen[0].images, chosen[1].images)
    assert objective.net_steps == 3
    assert idc(context, net_images=2000).net_steps == 45  # All 1438 images, once.
    assert idc(context, batch_syn_max=4)._at_most(context.synthetic.decode(), Streams(0)("any")).labels.tolist() == (
        context.synthetic.labels.tolist()
    )
    context.synthetic.formation = Formation(stored_as="pixels")
    context.synthetic.leaf = torch.linspace(-1, 2, 40 * 64).view(40, 1, 8, 8)
    objective = idc(context)
    next(iter(objective.matches(0)))
    assert (context.synthetic.leaf.min(), context.synthetic.leaf.max()) == (0, 1)


def test_images_that_pass_through_networks_in_an_iteration():
    """What decides whether compiling pays: classes x (real + synthetic), for every inner step."""
    counted = {name: objective.images_per_iteration for name, objective in METHODS.items()}
    settings = {"batch_real": 20, "outer_loop": 3, "inner_loop": 4, "syn_steps": 7, "batch_syn": None}
    assert counted["dm"](10, 5, settings) == counted["idm"](10, 5, settings) == 250
    assert counted["dc"](10, 5, settings) == counted["dsa"](10, 5, settings) == 750
    assert counted["idc"](10, 5, settings) == 1000
    assert counted["mtt"](10, 5, settings) == 350
    assert counted["mtt"](10, 5, {**settings, "batch_syn": 6}) == 42
    assert Method.images_per_iteration(10, 5, {}) == 50  # one of somebody's own, without real batches


def test_embeddings_that_the_objective_did_not_make_are_made_once_and_those_it_made_are_kept(context):
    network = context.new_network(Streams(0)("network"))
    real, synthetic = context.data.class_batches(2, Streams(0)("real")), context.synthetic.decode()
    made = Match(torch.zeros(10), synthetic.images, synthetic.labels, network, real, synthetic)
    first, second = made.embeddings
    torch.testing.assert_close(first, network.embed(real.images))
    torch.testing.assert_close(second, network.embed(synthetic.images))
    assert made.embeddings is made.embeddings
    kept = (first.detach() + 1, second.detach() + 1)
    assert Match(torch.zeros(10), synthetic.images, synthetic.labels, embedded=kept).embeddings is kept


def test_real_images_are_embedded_in_parts_without_a_graph(context, monkeypatch):
    network = context.new_network(Streams(0)("network"))
    images = context.data.train.images[:10]
    monkeypatch.setattr(passes, "CHUNK_VALUES", 3 * images[0].numel())
    parts = embed_real(network, images)
    assert not parts.requires_grad
    torch.testing.assert_close(parts, network.embed(images).detach())


def test_another_network_of_the_zoo_has_its_own_defaults(context):
    assert type(context.new_network(Streams(0)("any"), "mlp")).__name__ == "MLP"
    own = [context.new_network(Streams(0)("any"), name) for name in (None, "convnet")]
    assert [network.width for network in own] == [4, 4]


def three_classes(norm="instancenorm"):
    generator = torch.Generator().manual_seed(0)
    network = build_network("convnet", (1, 8, 8), 3, generator, width=4, depth=2, norm=norm).double()
    images = torch.randn(9, 1, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    return network, Split(images, torch.arange(3).repeat(3))


@pytest.mark.parametrize("norm", ["instancenorm", "batchnorm"])
def test_a_large_set_is_taken_class_by_class_once_more_with_the_same_gradient(monkeypatch, norm):
    """Batch norm mixes the images of a class and has running statistics, so it always keeps its graph."""
    results = []
    for values in (10**9, 1):
        monkeypatch.setattr(passes, "CHUNK_VALUES", values)
        network, data = three_classes(norm)
        gradients = class_gradients(network, data, 3, create_graph=True)
        (d_images,) = torch.autograd.grad(
            squared(gradients, [torch.ones_like(g) for g in gradients]).sum(), data.images
        )
        results.append((*gradients, d_images))
        assert all(not g.requires_grad for g in class_gradients(network, data, 3, create_graph=False))
    for whole, again in zip(*results, strict=True):
        torch.testing.assert_close(whole, again, rtol=1e-8, atol=1e-12)


def test_cosine_distances_are_zero_for_a_multiple_one_for_nothing_and_two_for_the_opposite():
    network, data = three_classes()
    members = [(data.labels == label).nonzero().flatten() for label in range(3)]
    gradients = [1000 * g for g in gradients_one_by_one(network, data, members, create_graph=False)]
    rows = sum(g[0].shape[0] for g in gradients if g.dim() > 2)
    for factor, of_a_row in ((2, 0), (-1, 2), (0, 1)):
        others = [factor * g for g in gradients]
        torch.testing.assert_close(cosine(gradients, others), torch.full((3,), float(of_a_row)).double())
        expected = torch.full((3,), float(of_a_row * rows)).double()
        torch.testing.assert_close(layerwise_cosine(gradients, others), expected, rtol=1e-3, atol=1e-2)


def with_batch_norm(context):
    return replace(context, network={**context.network, "norm": "batchnorm"})


def test_dm_takes_batch_norms_mean_and_deviation_from_the_images_of_all_classes_at_once(context, monkeypatch):
    """DatasetCondensation/main_DM.py:173-197; in parts of a few classes their means would be much alike."""
    context = with_batch_norm(context)
    given = {"lr_img": 1.0, "momentum": 0.5, "batch_real": 5, "augment": NONE}
    (whole,) = METHODS["dm"](context, **given).matches(0)
    network = context.new_network(context.streams("network", 0))
    real, synthetic = (network.embed(split.images).unflatten(0, (10, -1)) for split in (whole.real, whole.synthetic))
    torch.testing.assert_close(whole.loss, (real.mean(1) - synthetic.mean(1)).square().sum(1))
    monkeypatch.setattr(passes, "CHUNK_VALUES", 7 * 64)
    (in_parts,) = METHODS["dm"](context, **given).matches(0)
    assert torch.equal(in_parts.loss, whole.loss)


def test_dc_matches_at_statistics_of_real_images_where_a_network_has_batch_norm(context):
    """DatasetCondensation/main.py:137-155: a pass of sixteen a class in training, and then none moves them until the
    network is trained on the set.
    """
    context = with_batch_norm(context)
    given = {"lr_img": 0.1, "momentum": 0.5, "batch_real": 5, "distance": "layerwise_cosine", "augment": NONE}
    objective = METHODS["dc"](context, **given, outer_loop=2, net=TrainingRecipe(momentum=0.0, weight_decay=0.0))
    plain = context.new_network(context.streams("network", 0))
    optimizer = torch.optim.SGD(plain.parameters(), 0.01)
    for step, match in enumerate(objective.matches(0)):
        plain.train()
        plain(context.data.class_batches(16, context.streams("norm", 0, step)).images)
        plain.eval()
        for own, other in zip(plain.state_dict().values(), match.network.state_dict().values(), strict=True):
            torch.testing.assert_close(own, other)
        members = [(match.real.labels == label).nonzero().flatten() for label in range(10)]
        real = gradients_one_by_one(plain, match.real, members, create_graph=False)
        members = [(match.labels == label).nonzero().flatten() for label in range(10)]
        synthetic = gradients_one_by_one(plain, match.synthetic, members, create_graph=False)
        torch.testing.assert_close(match.loss, layerwise_cosine(real, synthetic))
        plain.train()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(plain(match.images), match.labels).backward()
        optimizer.step()
