import json

import pytest
import torch

from cmidd.networks import blank_network, build_network
from cmidd.networks.convnet import ConvNet
from cmidd.utils.errors import SettingError
from tests.support.golden import GOLDEN, load_golden, load_parameters

VARIANTS = {
    "batchnorm": {"norm": "batchnorm"},
    "layernorm": {"norm": "layernorm"},
    "groupnorm": {"norm": "groupnorm"},
    "nonorm": {"norm": "none"},
    "maxpool": {"pooling": "max"},
    "nopool": {"pooling": "none", "width": 4},
    "sigmoid": {"activation": "sigmoid"},
    "leakyrelu": {"activation": "leakyrelu"},
    "swish": {"activation": "swish"},
    "depth4": {"depth": 4},
}


def test_convnet_equals_the_reference(golden_set):
    golden = load_golden(f"{golden_set}/convnet")
    x, logits = golden["x"], golden["logits"]
    network = load_parameters(ConvNet(tuple(x.shape[1:]), logits.shape[1], width=8).double(), golden, "param")
    torch.testing.assert_close(network.embed(x), golden["embed"], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(network(x), logits, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_convnet_variant_equals_the_reference(variant):
    golden = load_golden("convnet_variants")
    network = ConvNet((3, 32, 32), 4, **{"width": 8, **VARIANTS[variant]}).double()
    load_parameters(network, golden, f"{variant}_param")
    torch.testing.assert_close(network(golden["x"]), golden[f"{variant}_logits"], rtol=1e-6, atol=1e-9)


ZOO = {
    "MLP": ("mlp", {}),
    "LeNet": ("lenet", {}),
    "AlexNet": ("alexnet", {}),
    "AlexNetBN": ("alexnet", {"norm": "batchnorm"}),
    "VGG11": ("vgg11", {}),
    "VGG11BN": ("vgg11", {"norm": "batchnorm"}),
    "ResNet18": ("resnet18", {}),
    "ResNet18BN": ("resnet18", {"norm": "batchnorm"}),
    "ResNet18BN_AP": ("resnet18", {"norm": "batchnorm", "downsampling": "avgpool"}),
    "ConvNet": ("convnet", {}),
    "ConvNetD1": ("convnet", {"depth": 1}),
    "ConvNetD2": ("convnet", {"depth": 2}),
    "ConvNetD4": ("convnet", {"depth": 4}),
    "ConvNetW32": ("convnet", {"width": 32}),
    "ConvNetW256": ("convnet", {"width": 256}),
    "ConvNetBN": ("convnet", {"norm": "batchnorm"}),
    "ConvNetLN": ("convnet", {"norm": "layernorm"}),
    "ConvNetIN": ("convnet", {"norm": "instancenorm"}),
    "ConvNetGN": ("convnet", {"norm": "groupnorm"}),
    "ConvNetNP": ("convnet", {"pooling": "none"}),
    "ConvNetMP": ("convnet", {"pooling": "max"}),
}
SHAPES = {"rgb32_10": (3, 32, 32), "rgb32_100": (3, 32, 32), "gray28_10": (1, 28, 28)}
SIZES = json.loads((GOLDEN / "network_sizes.json").read_text())


def test_the_zoo_is_the_published_one():
    assert ZOO.keys() == SIZES.keys()


@pytest.mark.parametrize("published", ZOO)
@pytest.mark.parametrize("cell", SHAPES)
def test_network_has_the_published_size(published, cell):
    size, (name, options) = SIZES[published][cell], ZOO[published]
    network = build_network(name, SHAPES[cell], size["classes"], torch.Generator(), **options).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == size["parameters"]
    embedded = network.embed(torch.zeros(1, *SHAPES[cell]))
    assert network(torch.zeros(1, *SHAPES[cell])).shape == (1, size["classes"])
    if size["embedding_width"]:
        assert embedded.shape[1] == size["embedding_width"]


def test_resnet10_is_the_one_of_idc():
    """models/resnet.py at CIFAR10: stem 3-32, one block of 32, 64, 128, 256 with shortcuts, all batch norms."""
    convolutions = 27 * 32 + sum(9 * a * b + 9 * b * b + (a != b) * a * b for a, b in [(32, 32), (32, 64)])
    convolutions += sum(9 * a * b + 9 * b * b + a * b for a, b in [(64, 128), (128, 256)])
    norms = 2 * (32 + 2 * 32 + 3 * (64 + 128 + 256))
    network = build_network("resnet10", (3, 32, 32), 10, torch.Generator().manual_seed(0))
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + norms + 256 * 10 + 10
    weight = network.stages[3].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("side, kernel, last", [(32, 3, 4), (48, 3, 6), (64, 3, 8), (128, 3, 8), (224, 7, 7)])
def test_resnet10_takes_larger_images_as_the_one_of_idc(side, kernel, last):
    """models/resnet.py beyond CIFAR: a stem that pools from 65 pixels on, the last maps averaged whole.

    Run beside on the same weights (float64, these sides, both norms), its logits are the same bits.
    """
    network = blank_network("resnet10", (3, side, side), 10, width=64)
    maps = network.stages(network.stem(torch.zeros(2, 3, side, side, device="meta")))
    assert maps.shape[2:] == (last, last)
    assert network.stem[0].kernel_size == (kernel, kernel)
    assert network.embed(torch.zeros(2, 3, side, side, device="meta")).shape == (2, 512)
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_903_242 + 64 * 3 * (kernel**2 - 9)


@pytest.mark.parametrize("name", ["vgg11", "lenet", "resnet18"])
def test_a_network_that_the_images_do_not_fit_is_refused_by_name(name):
    with pytest.raises(SettingError, match=f"network={name}: takes square images from"):
        build_network(name, (1, 8, 8), 10, torch.Generator())


@pytest.mark.parametrize("name", ["mlp", "alexnet", "resnet10"])
def test_a_network_that_fits_tiny_images_takes_them(name):
    network = build_network(name, (1, 8, 8), 10, torch.Generator().manual_seed(0))
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_initialisation_follows_the_generator_alone():
    first, second = (build_network("convnet", (1, 8, 8), 10, torch.Generator().manual_seed(1)) for _ in range(2))
    other = build_network("convnet", (1, 8, 8), 10, torch.Generator().manual_seed(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_too_deep_a_network_is_refused():
    with pytest.raises(SettingError, match=r"network\.depth=4: too deep for images of 8x8"):
        ConvNet((1, 8, 8), 10, depth=4)


@pytest.mark.parametrize("side, kernel", [(32, 3), (64, 3), (128, 3), (224, 7)])
def test_resnetap10_is_the_one_of_idc(side, kernel):
    """models/resnet_ap.py at ImageNet: a stem pooled by the size of the images, no stride, last maps averaged whole.

    Run beside on the same weights (float64, sides 32 to 224, both norms), logits and features agree to 2e-14.
    """
    convolutions = kernel**2 * 3 * 64 + 2 * 9 * 64 * 64
    convolutions += sum(9 * a * b + 9 * b * b + a * b for a, b in [(64, 128), (128, 256), (256, 512)])
    norms = 2 * (64 + 2 * 64 + 3 * (128 + 256 + 512))
    network = blank_network("resnetap10", (3, side, side), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + norms + 512 * 10 + 10
    maps = network.stages(network.stem(torch.zeros(2, 3, side, side, device="meta")))
    assert maps.shape[2:] == {32: (4, 4), 64: (8, 8), 128: (8, 8), 224: (7, 7)}[side]
    assert all(module.stride in (1, (1, 1)) for module in network.modules() if isinstance(module, torch.nn.Conv2d))


def test_resnetap10_starts_as_the_one_of_idc():
    network = build_network("resnetap10", (1, 16, 16), 10, torch.Generator().manual_seed(0))
    weight = network.stages[3].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.02)
    assert network(torch.rand(2, 1, 16, 16)).shape == (2, 10)
    with pytest.raises(SettingError, match="network=resnetap10: takes square images from 16x16"):
        build_network("resnetap10", (1, 8, 8), 10, torch.Generator())


@pytest.mark.parametrize("depth, features", [(5, 128 * 4 * 4), (6, 128 * 2 * 2)])
def test_a_deeper_convnet_takes_larger_images(depth, features):
    network = blank_network("convnet", (3, 128, 128), 10, depth=depth)
    embedded = network.embed(torch.zeros(2, 3, 128, 128, device="meta"))
    assert embedded.shape == (2, features)
    assert network.classifier(embedded).shape == (2, 10)
