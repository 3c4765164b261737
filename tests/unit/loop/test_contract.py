"""What the authors of plug-ins forget is a sentence that names it, before anything is computed for nothing."""

import dataclasses
import types

import pytest
import torch

from cmidd.core.match import Match
from cmidd.core.method import Method
from cmidd.core.regularizer import Regularizer
from cmidd.core.sampler import Sampler
from cmidd.loop.contract import Held, matches_of, refuse_memories, refuse_unmoved, saved_state
from cmidd.utils.errors import SettingError


@pytest.fixture
def match():
    images = torch.ones(4, 1, 2, 2, requires_grad=True)
    return Match(images.sum(), images, torch.tensor([0, 0, 1, 1]))


def method(*yielded, steps=1):
    return types.SimpleNamespace(matches=lambda iteration: iter(yielded), steps_per_iteration=steps)


def test_matches_pass_as_they_are(match):
    declined = dataclasses.replace(match, loss=torch.zeros(2), declined=True)
    assert list(matches_of(method(match, declined, steps=2), 0, 2)) == [match, declined]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda match: torch.zeros(()), "matches yielded a Tensor; yield a Match"),
        (lambda match: dataclasses.replace(match, loss=0.5), r"the loss of its match is a float; give .* \[2\]"),
        (lambda match: dataclasses.replace(match, loss=match.images.sum((1, 2, 3))), r"a tensor of shape \[4\]"),
        (lambda match: dataclasses.replace(match, loss=match.loss.detach()), "has no gradient; compute it of"),
    ],
)
def test_what_cannot_be_stepped_on_is_refused(match, change, said):
    with pytest.raises(SettingError, match=said):
        list(matches_of(method(change(match)), 0, 2))


def test_as_many_matches_are_yielded_as_the_class_says(match):
    with pytest.raises(SettingError, match=r"matches yielded 2, and the class says steps_per_iteration = 1; say"):
        list(matches_of(method(match, match), 0, 2))
    with pytest.raises(SettingError, match="matches yielded 0"):
        list(matches_of(method(), 0, 2))
    with pytest.raises(SettingError, match="matches returned a Match; it yields"):
        list(matches_of(types.SimpleNamespace(matches=lambda iteration: match), 0, 2))


def test_a_loss_of_something_else_moves_nothing_and_is_refused(match):
    optimizer = torch.optim.SGD([match.images], lr=1.0)
    with pytest.raises(SettingError, match="the loss does not depend on what param_groups names"):
        refuse_unmoved(optimizer)
    match.loss.backward()
    refuse_unmoved(optimizer)


def term(returned, **about):
    return type("Term", (Regularizer,), {"name": "t", "__init__": lambda self: None, "__call__": returned, **about})()


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda self, match, generator: 0.5, "__call__ returned a float; give"),
        (lambda self, match, generator: match.images.sum((1, 2, 3)), r"__call__ returned a tensor of shape \[4\]"),
        (lambda self, match, generator: match.images.detach().sum(), "has no gradient, so it would change nothing"),
    ],
)
def test_a_term_that_is_none_is_refused(match, returned, said):
    with pytest.raises(SettingError, match=f"^regularizer=t: .*{said}"):
        Held(term(returned), 2)(match, torch.Generator())


def test_a_term_is_as_it_was(match):
    per_class = Held(term(lambda self, match, generator: match.images.view(2, -1).mean(1)), 2)
    assert per_class(match, torch.Generator()).tolist() == [1, 1]
    constant = Held(term(lambda self, match, generator: torch.zeros(())), 4)  # as CMI of one image of each class
    assert constant(match, torch.Generator()) == 0
    with torch.no_grad():
        assert per_class(match, torch.Generator()).tolist() == [1, 1]


def test_what_a_term_needs_must_be_in_the_match(match):
    needing = Held(term(lambda self, match, generator: match.loss, needs=frozenset({"real"})), 2)
    with pytest.raises(SettingError, match=r"needs real and synthetic of the match, .* say gives = frozenset"):
        needing(match, torch.Generator())


@pytest.mark.parametrize("base", [Method, Sampler])
def test_a_state_is_saved_and_read_or_neither(base):
    def made(own):
        kind = type("Own", (base,), own)
        kind.__abstractmethods__ = frozenset()
        return {"objective": object.__new__(kind)}

    both = {"state": lambda self: {}, "load_state": lambda self, tensors: None}
    refuse_memories(made({}) | made(both))
    for name, other in zip(both, reversed(both), strict=True):
        with pytest.raises(SettingError, match=f"^Own: has {name} and no {other}, so a killed run would not go on"):
            refuse_memories(made({name: both[name]}))


def test_a_state_is_of_tensors():
    assert saved_state(object(), {"seen": torch.tensor(3)}) == {"seen": torch.tensor(3)}
    for wrong in ({"seen": 3}, None, torch.tensor(3)):
        with pytest.raises(SettingError, match=r"^object: state returns a (int|NoneType|Tensor) among what it saves;"):
            saved_state(object(), wrong)
