"""What is known of labels on the host."""

import gc
import weakref

import torch

from cmidd.data import known_labels
from cmidd.data.known_labels import class_members, class_sizes, groups, host_labels, num_classes_of, place
from cmidd.data.load import load_dataset
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams
from tests.support.pretended import pretended_device

LABELS = torch.tensor([3, 0, 3, 1, 0])


def test_members_sizes_and_groups_are_those_of_the_labels():
    labels = LABELS.clone()
    assert [own.tolist() for own in class_members(labels, 5)] == [[1, 4], [3], [], [0, 2], []]
    assert class_sizes(labels, 5).tolist() == [2, 1, 0, 2, 0]
    assert num_classes_of(labels) == 4
    assert [each.tolist() for each in groups(labels)] == [[2, 0, 2, 1, 0], [2, 1, 2]]


def test_new_numbers_in_the_same_tensor_are_noticed():
    labels = LABELS.clone()
    assert class_sizes(labels, 4).tolist() == [2, 1, 0, 2]
    labels[0] = 2
    assert class_sizes(labels, 4).tolist() == [2, 1, 1, 1]
    assert host_labels(labels).tolist() == [2, 0, 3, 1, 0]


def test_nothing_is_kept_of_labels_that_are_gone():
    labels = LABELS.clone()
    class_members(labels, 4)
    gone, before = weakref.ref(labels), len(known_labels._known)
    del labels
    gc.collect()
    assert gone() is None
    assert len(known_labels._known) < before


def test_a_gpu_is_asked_for_labels_once_and_for_placed_ones_never():
    with pretended_device("cuda") as counts:
        placed = place(LABELS, torch.device("cuda"))
        for labels in (placed, placed):
            class_members(labels, 4), class_sizes(labels, 4), groups(labels), num_classes_of(labels)
        assert counts.syncs == 0
        asked = LABELS.to("cuda")
        counts.reset()
        for _ in range(3):
            class_members(asked, 4)
        assert counts.syncs == 1
        assert torch.equal(asked.cpu(), placed.cpu())


def test_batches_and_synthetic_sets_give_the_same_labels_from_step_to_step():
    data, streams = load_dataset("digits"), Streams(0)
    batches = [data.class_batches(3, streams("real", step)) for step in range(2)]
    batches.append(data.cycled_class_batches(3, 0, streams))
    assert len({id(batch.labels) for batch in batches}) == 1
    assert torch.equal(batches[0].labels, torch.arange(10).repeat_interleave(3))
    assert data.class_batches(4, streams("real", 0)).labels is not batches[0].labels
    synthetic = SyntheticSet.from_real(data, 1, streams("init"), Formation(factor=2))
    labels = synthetic.training_images().labels
    assert labels.tolist() == list(range(10)) * 4
    assert synthetic.training_images().labels is labels
    synthetic.begin_stage(synthetic.leaf.clone(), synthetic.leaf_labels)
    assert synthetic.training_images().labels.tolist() == [*range(10), *range(10)] * 4
