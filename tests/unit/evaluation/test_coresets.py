"""Each rule takes the images that its definition says, as a slow plain version finds them."""

import pytest
import torch

from cmidd.compute.kmeans import centres_of
from cmidd.evaluation.coresets import herding, k_centre, k_means, most_forgotten


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_features(seed, count=30, size=4):
    return torch.randn(count, size, generator=generator(seed))


def on_a_line(*values):
    return torch.tensor(values)[:, None]


def plain_herding(features, count):
    """The unused sample nearest to (k + 1) mean - sum of the selected."""
    chosen = []
    for k in range(count):
        target = (k + 1) * features.mean(0) - sum((features[i] for i in chosen), torch.zeros(features.shape[1]))
        left = [i for i in range(len(features)) if i not in chosen]
        chosen.append(min(left, key=lambda i, target=target: float((features[i] - target).norm())))
    return chosen


def plain_k_centre(features, count, first):
    """From the first on the sample that is farthest from its nearest chosen one."""
    chosen = [first]
    while len(chosen) < count:
        left = [i for i in range(len(features)) if i not in chosen]
        chosen.append(max(left, key=lambda i: min(float((features[i] - features[j]).norm()) for j in chosen)))
    return chosen


@pytest.mark.parametrize("seed", range(3))
def test_herding_takes_what_the_plain_version_takes(seed):
    features = random_features(seed).double()
    assert herding(features, 8).tolist() == plain_herding(features, 8)


def test_herding_keeps_the_mean_of_the_chosen_at_the_mean():
    # The mean is 4: first 3.5, the nearest; then what is nearest to 2 * 4 - 3.5 = 4.5; then to 3 * 4 - 8.5 = 3.5.
    assert herding(on_a_line(0.0, 3.5, 5.0, 9.5, 2.0), 3).tolist() == [1, 2, 4]


def test_herding_does_not_take_the_farthest_as_deepcore_does():
    assert herding(on_a_line(0.0, 1.0, 2.0, 100.0, 30.0), 1).tolist() == [4]  # The mean is 26.6.


@pytest.mark.parametrize("seed", range(3))
def test_k_centre_takes_what_the_plain_version_takes(seed):
    features = random_features(seed)
    found = k_centre(features, 8, generator(seed)).tolist()
    assert found == plain_k_centre(features, 8, found[0])


def test_k_centre_goes_to_the_ends_and_then_to_the_widest_gap():
    line = on_a_line(0.0, 1.0, 4.0, 5.0, 11.0)
    for seed in range(10):
        first, *rest = k_centre(line, 3, generator(seed)).tolist()
        assert rest == {0: [4, 3], 1: [4, 3], 2: [4, 0], 3: [4, 0], 4: [0, 3]}[first]


def test_k_centre_begins_with_any_image():
    assert {int(k_centre(random_features(0, 4), 1, generator(seed))) for seed in range(40)} == {0, 1, 2, 3}


def test_k_means_takes_the_image_nearest_to_each_centre():
    features = torch.cat([random_features(group, 10) * 0.1 + 10 * group for group in range(3)])
    found = k_means(features, 3, generator())
    assert {int(index) // 10 for index in found} == {0, 1, 2}
    centres, _ = centres_of(features, 3, generator(), 100)
    nearest = [min(range(30), key=lambda i, c=c: float((features[i] - c).norm())) for c in centres]
    assert found.tolist() == nearest


def test_k_means_with_one_centre_is_the_first_of_herding():
    features = random_features(5)
    assert k_means(features, 1, generator()).tolist() == herding(features, 1).tolist()


def test_the_most_forgotten_come_first_and_of_equals_the_earlier():
    assert most_forgotten(torch.tensor([0, 2, 1, 2, 0]), 4).tolist() == [1, 3, 2, 0]


@pytest.mark.parametrize("count", [1, 6, 9])
def test_no_image_is_taken_twice_also_where_all_are_alike_or_too_few(count):
    alike = torch.ones(6, 3)
    rules = [
        herding(alike, count),
        k_centre(alike, count, generator()),
        k_means(alike, count, generator()),
        most_forgotten(torch.zeros(6, dtype=torch.int32), count),
    ]
    for found in rules:
        assert len(found) == len(set(found.tolist())) == min(count, 6)
