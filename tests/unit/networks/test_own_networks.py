"""A network of somebody's own: what its author forgets is said in a sentence, and nothing is left as memory had it."""

import pytest
import torch
from torch import nn

from cmidd.methods import METHODS
from cmidd.networks import NETWORKS, Network, blank_network, build_network
from cmidd.utils.errors import SettingError


class Own(Network):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        channels, height, width = image_shape
        self.classifier = nn.Linear(channels * height * width, num_classes)

    def embed(self, images):
        return images.flatten(1)


class Tuple(Own):
    def forward(self, images):
        return self.classifier(self.embed(images)), images


class TooMany(Own):
    def __init__(self, image_shape, num_classes):
        super().__init__(image_shape, num_classes + 3)


class Maps(Own):
    def embed(self, images):
        return images

    def forward(self, images):
        return self.classifier(images.flatten(1))


class OtherSize(Own):
    def __init__(self, image_shape, num_classes):
        super().__init__((3, 32, 32), num_classes)


class NoClassifier(Own):
    def __init__(self, image_shape, num_classes):
        super().__init__(image_shape, num_classes)
        self.head = self.classifier
        del self.classifier


class Lazy(Own):
    def __init__(self, image_shape, num_classes):
        super().__init__(image_shape, num_classes)
        self.classifier = nn.LazyLinear(num_classes)


class AsksForMore(Own):
    def __init__(self, image_shape, num_classes, hidden):
        super().__init__(image_shape, num_classes)


class Scaled(Own):
    def __init__(self, image_shape, num_classes):
        super().__init__(image_shape, num_classes)
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("taken", torch.tensor([0, 1]))

    def embed(self, images):
        return images.flatten(1) * self.scale


class Loose(Own):
    def __init__(self, image_shape, num_classes):
        super().__init__(image_shape, num_classes)
        self.mean = torch.tensor(0.5)


class Keeps(Own):
    def embed(self, images):
        self.features = images.flatten(1)
        return self.features


class Asserts(Own):
    def embed(self, images):
        assert images.shape[-1] == 64, "needs 64"
        return images.flatten(1)


class FromTheGlobalGenerator(Own):
    @torch.no_grad()
    def initialise(self, generator):
        for parameter in self.parameters():
            nn.init.normal_(parameter)


class Looks(Own):
    def embed(self, images):
        return super().embed(images if images.sum() > 0 else -images)


class OtherLayers(Own):
    def __init__(self, image_shape, num_classes):
        super().__init__(image_shape, num_classes)
        self.more = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.BatchNorm1d(1), nn.PReLU())

    def embed(self, images):
        return self.more(images.flatten(1)[:, None])[:, 0]


@pytest.fixture
def own(monkeypatch):
    def add(kind):
        monkeypatch.setitem(NETWORKS.built_in, "own", kind)

    return add


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Tuple, r"forward returns a tuple for 2 images of 1x8x8 and 10 classes, \[2, 10\] is expected"),
        (TooMany, r"forward returns \[2, 13\] for 2 images of 1x8x8 and 10 classes, \[2, 10\] is expected"),
        (Maps, r"embed returns \[2, 1, 8, 8\] for 2 images of 1x8x8 and 10 classes, \[2, D\] is expected"),
        (OtherSize, r"takes no images of 1x8x8 \(.*3072, 10.*\); choose another"),
        (Asserts, r"takes no images of 1x8x8 \(needs 64.*\); choose another"),
        (NoClassifier, "has no classifier, the layer that makes logits of what embed returns"),
        (Lazy, "has lazy layers"),
        (AsksForMore, "AsksForMore asks for hidden beside image_shape and num_classes; settings stand behind a [*]"),
    ],
)
def test_what_is_no_network_is_refused_before_any_work(own, kind, said):
    own(kind)
    with pytest.raises(SettingError, match=f"^network=own: {said}"):
        blank_network("own", (1, 8, 8), 10)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Scaled, "initialise does not fill scale, taken, .* override initialise"),
        (
            FromTheGlobalGenerator,
            "initialise fills classifier.weight, classifier.bias with other numbers each",
        ),
        (Loose, "its tensor mean is neither parameter nor buffer; register_buffer it"),
    ],
)
def test_tensors_that_nobody_fills_are_refused(own, kind, said):
    own(kind)
    with pytest.raises(SettingError, match=f"^network=own: {said}"):
        build_network("own", (1, 8, 8), 10, torch.Generator())


def test_what_a_network_fills_itself_is_its_own(own):
    class Filling(Scaled):
        @torch.no_grad()
        def initialise(self, generator):
            super().initialise(generator)
            self.scale.fill_(2)
            self.taken.copy_(torch.tensor([0, 1]))

    own(Filling)
    network = build_network("own", (1, 8, 8), 10, torch.Generator())
    assert (network.scale.item(), network.taken.tolist()) == (2, [0, 1])


def test_layers_of_torch_initialise_themselves_from_the_generator_alone(own):
    own(OtherLayers)
    state = torch.get_rng_state()
    first, again, other = (build_network("own", (1, 8, 8), 10, torch.Generator().manual_seed(n)) for n in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    convolution, norm, slope = first.more
    assert torch.equal(convolution.weight, again.more[0].weight)
    assert not torch.equal(convolution.weight, other.more[0].weight)
    assert (norm.weight.item(), norm.running_var.item(), slope.weight.item()) == (1, 1, 0.25)


def test_layers_without_numbers_take_none_from_the_generator(own):
    class Norms(Own):
        def __init__(self, image_shape, num_classes):
            super().__init__(image_shape, num_classes)
            del self.classifier
            self.norm, self.classifier = nn.InstanceNorm2d(1), nn.Linear(64, num_classes)

    own(Norms)
    network, linear = build_network("own", (1, 8, 8), 10, torch.Generator().manual_seed(1)), Own((1, 8, 8), 10)
    linear.initialise(torch.Generator().manual_seed(1))
    assert torch.equal(network.classifier.weight, linear.classifier.weight)


@pytest.mark.parametrize("kind", [Looks, Keeps])
def test_a_network_that_looks_at_numbers_or_keeps_what_it_computes_is_taken(own, kind):
    own(kind)
    assert build_network("own", (1, 8, 8), 10, torch.Generator())(torch.rand(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("method", ["mtt", "datm"])
def test_a_network_of_ones_own_with_buffers_is_refused_without_a_setting_that_it_lacks(own, method):
    own(OtherLayers)
    name = METHODS[method].__name__
    with pytest.raises(
        SettingError, match=rf"^network: {name} cannot unroll .* OtherLayers has more.1.running_mean; use"
    ):
        METHODS[method].refuse({}, blank_network("own", (1, 8, 8), 10))
    with pytest.raises(
        SettingError, match=rf"^network.norm=batchnorm: {name} cannot unroll running statistics; use inst"
    ):
        METHODS[method].refuse({}, blank_network("convnet", (1, 8, 8), 10, norm="batchnorm"))
