"""Every cell of Table 1, Fashion-MNIST and the digits has settings that pass all checks."""

import pytest
from omegaconf import OmegaConf

from cmidd.cli import CONFIGS, compose
from cmidd.errors import SettingError

METHODS = ("dc", "dm", "dsa", "idc", "idm", "mtt")
WEIGHTS = {  # methods.md section 7: data set -> ipc -> weight
    "dm": {"svhn": {10: 18000, 50: 500}, "cifar10": {10: 8000, 50: 2000}, "cifar100": {10: 2000, 50: 500}},
    "dc": {"cifar10": {10: 50000, 50: 10000}},
    "dsa": {
        "svhn": {10: 80000, 50: 10000},
        "cifar10": {10: 50000, 50: 10000},
        "cifar100": {10: 80000, 50: 20000},
    },
    "idc": {"svhn": {10: 50, 50: 50}, "cifar10": {10: 100, 50: 50}, "cifar100": {10: 100, 50: 50}},
}


@pytest.mark.parametrize("dataset", ["svhn", "cifar10", "cifar100", "fashion_mnist"])
@pytest.mark.parametrize("method", METHODS)
def test_every_cell_has_a_recipe_and_only_published_weights(method, dataset):
    recipe = OmegaConf.load(CONFIGS / "recipe" / f"{method}_{dataset}.yaml")
    assert dict(OmegaConf.select(recipe, "cmi.published") or {}) == WEIGHTS.get(method, {}).get(dataset, {})
    for ipc in (1, 10, 50):
        words = [f"method={method}", f"dataset={dataset}", f"ipc={ipc}"]
        assert compose(words).cmi.weight == 0
        published = WEIGHTS.get(method, {}).get(dataset, {}).get(ipc)
        if published is None:
            with pytest.raises(SettingError, match="no weight is published"):
                compose([*words, "cmi=paper"])
        else:
            assert compose([*words, "cmi=paper"]).cmi.weight == published


def test_the_size_that_the_digits_want_is_that_of_the_convnet_alone():
    assert compose(["method=dm"]).network["depth"] == 2
    assert compose(["method=dm", "network=mlp"]).network == {"name": "mlp"}


def test_mtt_comes_with_and_without_zca():
    words = ["method=mtt", "dataset=cifar10"]
    assert compose([*words, "recipe=mtt_cifar10_zca", "ipc=50"]).dataset["zca"] is True
    assert compose([*words, "recipe=mtt_cifar10_no_zca", "ipc=10"]).dataset["zca"] is False
