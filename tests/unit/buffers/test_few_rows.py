"""Experts of which only some rows are kept: those that are read, to the bits of a buffer that keeps all."""

import os
from dataclasses import replace

import pytest
import torch

from cmidd.buffers.expert import kept_epochs, read_rows
from cmidd.buffers.experts import ExpertRecipe, Experts, ExpertSettings
from cmidd.compute import kept
from cmidd.utils import files, tensor_files
from cmidd.utils.errors import SettingError
from tests.support.contexts import context
from tests.support.runs import Killed, run_here

RECIPE = ExpertRecipe(epochs=3, momentum=0.0, weight_decay=0.0, optimizer="gsam", batch=256)
ALL = ExpertSettings(1, RECIPE)


def long(epochs):
    """As ``ALL``, of another length: in the same file."""
    return replace(ALL, training=replace(RECIPE, epochs=epochs))


@pytest.fixture
def whole(tmp_path):
    """The rows of an expert of six epochs that keeps all."""
    experts = Experts(context(tmp_path / "whole"), long(6))
    return dict(enumerate(read_rows(experts.paths[0], range(7))))


def holds(experts, epochs, whole):
    """Whether a file holds the rows after these epochs, with the bits of ``whole``, and says which they are."""
    (path,) = experts.paths
    of_all = tensor_files.read_shapes(path)[0]["trajectory"][0]
    assert (kept_epochs(path) or list(range(of_all))) == epochs
    assert not files.unfinished(path).exists()
    return all(row.equal(whole[epoch]) for epoch, row in zip(epochs, read_rows(path, epochs), strict=True))


def test_a_finished_file_holds_what_is_read_and_no_more(tmp_path):
    given = (("few", ALL.keeping([0, 3])), ("all", ALL))
    few, whole = (Experts(context(tmp_path / name), some) for name, some in given)
    tensors, _ = tensor_files.read_tensors(few.paths[0])
    assert tensors.keys() == {"trajectory"}
    assert tensors["trajectory"].shape[0] == 2
    assert kept_epochs(few.paths[0]) == [0, 3]
    assert kept_epochs(whole.paths[0]) is None
    for ours, theirs in zip(few.segment(0, 0, 3), whole.segment(0, 0, 3), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(few.last(0), whole.last(0))


def test_other_rows_are_made_again_and_those_that_were_there_stay(tmp_path):
    world = context(tmp_path)
    first = Experts(world, ALL.keeping([0, 3])).last(0)
    assert Experts(world, ALL.keeping([3]), make=False).missing == 0
    assert Experts(world, ALL.keeping([1, 3]), make=False).missing == 1
    more = Experts(world, ALL.keeping([1, 3]))
    assert kept_epochs(more.paths[0]) == [0, 1, 3]
    assert torch.equal(more.last(0), first)
    assert Experts(world, ALL, make=False).missing == 1


def test_a_buffer_that_keeps_all_serves_whoever_reads_few(tmp_path):
    world = context(tmp_path)
    whole = Experts(world, ALL)
    few = Experts(world, ALL.keeping([1, 3]))
    assert kept_epochs(few.paths[0]) is None
    assert torch.equal(few.last(0), whole.last(0))


def test_a_shorter_request_keeps_the_rows_beyond_its_end(tmp_path, whole):
    world = context(tmp_path)
    Experts(world, long(6).keeping([0, 1, 6]))
    shorter = Experts(world, long(4).keeping([0, 2, 4]))
    assert holds(shorter, [0, 1, 2, 4, 6], whole)
    assert shorter.last(0).equal(whole[4])
    assert Experts(world, long(6).keeping([0, 1, 6]), make=False).missing == 0


@pytest.mark.parametrize(("few", "epochs"), [([0, 1, 6], [0, 1, 2, 3, 4, 6]), ([0, 3], [0, 1, 2, 3, 4])])
def test_whoever_reads_all_rows_gets_them_and_trains_once(tmp_path, whole, few, epochs, monkeypatch):
    world = context(tmp_path)
    Experts(world, long(few[-1]).keeping(few))
    everything = Experts(world, long(4))
    assert holds(everything, epochs, whole)
    monkeypatch.setattr(Experts, "_train", None)
    left = files.unfinished(everything.paths[0])
    left.touch()  # Of another run that trains it on.
    assert Experts(world, long(4)).missing == 0
    assert left.exists()
    os.utime(left, ns=(0, 0))  # As if it had been killed just before removing it.
    assert Experts(world, long(4)).missing == 0
    assert holds(everything, epochs, whole)
    assert Experts(world, long(few[-1]).keeping(few)).missing == 0


def test_a_file_with_all_rows_keeps_all_where_it_is_extended_for_few(tmp_path, whole):
    world = context(tmp_path)
    Experts(world, long(2))
    few = Experts(world, long(4).keeping([0, 1, 4]))
    assert kept_epochs(few.paths[0]) is None
    assert holds(few, [0, 1, 2, 3, 4], whole)
    assert Experts(world, long(2), make=False).missing == 0
    assert holds(Experts(world, long(6)), [0, 1, 2, 3, 4, 5, 6], whole)


@pytest.fixture
def cut(tmp_path, monkeypatch):
    """The folder in which few rows of six epochs were asked for, and the training died after four."""
    monkeypatch.setattr(kept, "KEPT_SECONDS", 0.0)
    write, left = tensor_files.write_tensors, iter(range(4))

    def dying(*given):
        if next(left, None) is None:
            raise Killed
        write(*given)

    with monkeypatch.context() as dies, pytest.raises(Killed):
        dies.setattr(tensor_files, "write_tensors", dying)
        Experts(context(tmp_path), long(6).keeping([0, 1, 6]))
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "epochs", "trained"),
    [
        (long(6).keeping([0, 1, 6]), [0, 1, 6], 2),
        (long(6), [0, 1, 2, 3, 4, 5, 6], 2),
        (long(3), [0, 1, 2, 3, 4], 0),
        (long(3).keeping([0, 3]), [0, 1, 2, 3, 4], 0),  # All, for the longer one goes on from there.
    ],
)
def test_few_rows_whose_training_died_are_nobodys_until_they_are_gone_on_with(
    cut, whole, asked, epochs, trained, monkeypatch
):
    world, record, recorded = context(cut), Experts._record, []
    assert Experts(world, ALL, make=False).missing == 1  # What lies there would become few rows under its reader.
    monkeypatch.setattr(Experts, "_record", lambda self, expert: recorded.append(record(self, expert)))
    assert holds(Experts(world, asked), epochs, whole)
    assert len(recorded) == trained
    assert holds(Experts(world, long(6)), [0, 1, 2, 3, 4, 5, 6], whole)
    if len(epochs) != 3:
        assert len(recorded) == 2


def test_runs_that_share_experts_go_on_with_what_the_others_left(tmp_path):
    shared = ["method.experts.count=1", "method.experts.training.batch=256"]
    datm = [*shared, "method.experts.training.optimizer=sgd"]
    mtt = [*shared, "method.max_start_epoch=4", "method.iterations=12", "method.experts.training.epochs=null"]
    run_here(tmp_path / "results", "datm", *datm, "method.experts.training.epochs=6")
    run_here(tmp_path / "results", "datm", *datm, "method.experts.training.epochs=4", "seed=1")
    run_here(tmp_path / "results", "mtt", *mtt)
    (path,) = tmp_path.rglob("expert_*.safetensors")
    assert kept_epochs(path) == [0, 1, 2, 3, 4, 6]


def test_networks_that_diverge_are_blamed_on_the_setting_that_they_come_from(tmp_path):
    wild = ExpertSettings(1, replace(RECIPE, optimizer="sgd", lr=1e30))
    for settings, name in ((wild, "experts"), (wild.keeping([0, 3], "models"), "models")):
        with pytest.raises(SettingError, match=rf"^method\.{name}\.training\.lr=1e\+30: "):
            Experts(context(tmp_path / name), settings)
