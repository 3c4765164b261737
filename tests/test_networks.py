import json

import pytest
import torch

from cmidd.errors import SettingError
from cmidd.networks import ConvNet, build_network
from tests.conftest import GOLDEN, load_golden, load_parameters

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


@pytest.mark.parametrize(("name", "published"), [("convnet", "ConvNet"), ("resnet18", "ResNet18")])
@pytest.mark.parametrize(
    ("cell", "shape"), [("rgb32_10", (3, 32, 32)), ("rgb32_100", (3, 32, 32)), ("gray28_10", (1, 28, 28))]
)
def test_network_has_the_published_size(name, published, cell, shape):
    size = json.loads((GOLDEN / "network_sizes.json").read_text())[published][cell]
    network = build_network(name, shape, size["classes"], torch.Generator())
    assert sum(parameter.numel() for parameter in network.parameters()) == size["parameters"]
    if size["embedding_width"]:
        assert network.embed(torch.zeros(1, *shape)).shape[1] == size["embedding_width"]


def test_initialisation_follows_the_generator_alone():
    first, second = (build_network("convnet", (1, 8, 8), 10, torch.Generator().manual_seed(1)) for _ in range(2))
    other = build_network("convnet", (1, 8, 8), 10, torch.Generator().manual_seed(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_too_deep_a_network_is_refused():
    with pytest.raises(SettingError, match=r"network\.depth=4: too deep for images of 8x8"):
        ConvNet((1, 8, 8), 10, depth=4)
