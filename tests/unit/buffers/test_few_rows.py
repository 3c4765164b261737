"""Experts of which only some rows are kept: those that are read, to the bits of a buffer that keeps all."""

from dataclasses import replace

import pytest
import torch

from cmidd.buffers.expert import kept_epochs
from cmidd.buffers.experts import ExpertRecipe, Experts, ExpertSettings
from cmidd.utils import tensor_files
from cmidd.utils.errors import SettingError
from tests.support.contexts import context

RECIPE = ExpertRecipe(epochs=3, momentum=0.0, weight_decay=0.0, optimizer="gsam", batch=256)
ALL = ExpertSettings(1, RECIPE)


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


def test_networks_that_diverge_are_blamed_on_the_setting_that_they_come_from(tmp_path):
    wild = ExpertSettings(1, replace(RECIPE, optimizer="sgd", lr=1e30))
    for settings, name in ((wild, "experts"), (wild.keeping([0, 3], "models"), "models")):
        with pytest.raises(SettingError, match=rf"^method\.{name}\.training\.lr=1e\+30: "):
            Experts(context(tmp_path / name), settings)
