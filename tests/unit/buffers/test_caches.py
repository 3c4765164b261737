"""Experts and teachers: made once, continued after a kill, shared by processes."""

import contextlib
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from cmidd.buffers import teachers
from cmidd.buffers.experts import Experts
from cmidd.buffers.teachers import TeacherPool
from cmidd.compute import engine, engine_passes
from cmidd.compute.engine import Engine
from cmidd.core.context import Context
from cmidd.utils import cache, files
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.contexts import SETTINGS, context
from tests.support.forked import forked


def make(folder, dies):
    """Print which experts this process trains; it may die without warning in the second one."""
    train = Experts._make

    def counted(self, indices, context):
        (index,) = indices
        print(f"expert {index + 1}/4", flush=True)
        if dies and index == 1:
            os._exit(9)
        train(self, indices, context)

    Experts._make = counted
    Experts(context(folder), SETTINGS)


def trained(*processes, dies=False):
    """What processes print that make the experts of folders at the same time, and how they ended."""
    with ThreadPoolExecutor(len(processes)) as pool:
        ended = list(pool.map(functools.partial(forked, make, cwd=None), processes, [dies] * len(processes)))
    return [line for done in ended for line in done.stdout.splitlines()], {done.returncode for done in ended}


def trajectories(experts):
    return [torch.stack(experts.segment(index, 0, 2)) for index in range(4)]


def test_an_interrupted_buffer_continues_and_equals_an_undisturbed_one(tmp_path):
    assert trained(tmp_path / "killed", dies=True) == (["expert 1/4", "expert 2/4"], {9})
    assert trained(tmp_path / "killed") == (["expert 2/4", "expert 3/4", "expert 4/4"], {0})
    pair = [trajectories(Experts(context(tmp_path / name), SETTINGS)) for name in ("killed", "whole")]
    for continued, undisturbed in zip(*pair, strict=True):
        assert torch.equal(continued, undisturbed)


def test_two_processes_share_one_buffer_and_train_each_expert_once(tmp_path):
    lines, codes = trained(tmp_path, tmp_path)
    assert sorted(lines) == [f"expert {number}/4" for number in (1, 2, 3, 4)]
    assert codes == {0}


def test_a_segment_is_the_parameters_after_its_epochs(tmp_path):
    world = context(tmp_path)
    start_of, end = Experts(world, SETTINGS).segment(0, 0, 2)
    untrained = world.new_network(Streams(0).child("expert", 0)("network"))
    assert torch.equal(start_of, torch.cat([p.detach().flatten() for p in untrained.parameters()]))
    assert end.shape == start_of.shape
    assert not torch.equal(start_of, end)


def test_experts_in_half_precision_take_half_the_space_and_are_the_same_up_to_rounding(tmp_path):
    world = context(tmp_path)
    whole, half = Experts(world, SETTINGS), Experts(world, replace(SETTINGS, dtype="float16"))
    sizes = [sum(path.stat().st_size for path in e.folder.glob("*.safetensors")) for e in (whole, half)]
    unrounded = 4 * 4 * half.size  # The last parameters of each of the four, to go on from.
    assert sizes[1] - unrounded < 0.53 * sizes[0]
    for exact, rounded in zip(whole.segment(0, 0, 2), half.segment(0, 0, 2), strict=True):
        assert rounded.dtype == torch.float32
        torch.testing.assert_close(rounded, exact, rtol=2**-11, atol=2**-25)


def test_other_settings_never_read_each_others_experts(tmp_path):
    folders = {Experts(context(tmp_path, depth=depth), SETTINGS).folder for depth in (1, 2)}
    assert len(folders) == 2


@pytest.mark.parametrize("generator_seed", [0, 1])
def test_teachers_are_frozen_kept_and_drawn_from_the_stream(tmp_path, generator_seed):
    first = TeacherPool(context(tmp_path), "convnet", 3, 1)
    again = TeacherPool(context(tmp_path), "convnet", 3, 1)
    for one, other in zip(first.networks, again.networks, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not any(p.requires_grad for network in first.networks for p in network.parameters())
    drawn = [pool.networks.index(pool.draw(torch.Generator().manual_seed(generator_seed))) for pool in (first, again)]
    assert drawn[0] == drawn[1]


# --- what a compiling engine made is the same thing


@pytest.fixture
def as_before(monkeypatch):
    """Has caches made as earlier versions did, whose keys said whether the engine compiled."""

    @contextlib.contextmanager
    def made_by(engine):
        with monkeypatch.context() as earlier:
            earlier.setattr(Context, "made_by", property(lambda self: {"data": self.data_key, "engine": engine}))
            earlier.setattr(cache, "not_compiled", lambda key: key)
            yield

    return made_by


@pytest.mark.parametrize(
    ("now", "before"),
    [
        (Engine(), "float32, compiled"),
        (Engine(compile=True), "float32, compiled"),
        (Engine("bf16"), "bf16, compiled"),
        (Engine("bf16", deterministic=True), "bf16, compiled, deterministic"),
    ],
)
def test_teachers_that_an_earlier_version_made_compiled_are_read_and_others_are_made_beside(
    now, before, tmp_path, monkeypatch, as_before
):
    monkeypatch.setattr(teachers, "train_all_kept", lambda *_, **__: None)
    monkeypatch.setattr(engine_passes, "current", Engine)  # No pass is compiled: what is tested are the keys.
    with as_before(before):
        old = TeacherPool(context(tmp_path), "convnet", 2, 1)
    (folder,) = (tmp_path / "teachers").iterdir()
    monkeypatch.setattr(engine, "_engine", now)
    again = TeacherPool(context(tmp_path), "convnet", 3, 1)
    for one, other in zip(old.networks, again.networks[:2], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    own = [path.name for path in tmp_path.glob("teachers/*/*.safetensors") if path.parent != folder]
    assert own == ["teacher_002.safetensors"]
    assert not list(folder.glob("teacher_002*"))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_experts_that_an_earlier_version_made_compiled_are_read_where_they_are_long_enough(
    schedule, tmp_path, as_before
):
    def experts(epochs):
        recipe = replace(SETTINGS.training, epochs=epochs, schedule=schedule)
        return Experts(context(tmp_path), replace(SETTINGS, count=1, training=recipe))

    with as_before("float32, compiled"):
        old = experts(2)
    again = experts(2)
    assert again.folder != old.folder
    assert again.paths == old.paths
    assert not again.folder.exists()
    longer = experts(3)
    assert longer.paths != old.paths
    assert again.segment(0, 0, 2)[1].equal(longer.segment(0, 0, 2)[1]) == (schedule == "constant")


def test_a_compiling_engine_shares_the_keys_of_one_that_does_not(tmp_path):
    keys = []
    for compiling in (False, True):
        with engine.using(Engine("bf16", compiling)):
            keys.append(context(tmp_path).made_by)
    assert keys[0] == keys[1] == {"data": {"name": "digits"}, "engine": "bf16"}


def test_a_buffer_of_another_precision_is_refused_though_it_was_compiled(tmp_path):
    files.write_json(tmp_path / "settings.json", {"data": {"name": "digits"}, "engine": "bf16, compiled"})
    with pytest.raises(SettingError, match="made with engine=bf16, this run has None"):
        cache.refuse_others(tmp_path, {"data": {"name": "digits"}})


def test_what_is_there_under_its_own_key_is_taken_before_what_was_made_compiled(tmp_path):
    keys = ({}, {"engine": "float32, compiled"})
    own, compiled = (tmp_path / f"digits_random_{cache.fingerprint(key)}.json" for key in keys)

    def found():
        return cache.kept(tmp_path, "digits_random_", ".json", {})

    assert found() == own
    compiled.touch()
    assert found() == compiled
    own.touch()
    assert found() == own
