"""Every cell of Table 1, Fashion-MNIST and the digits has settings that pass all checks."""

import itertools

import pytest
from omegaconf import OmegaConf

from cmidd.cli.compose import CONFIGS, compose, composition, notes
from cmidd.utils.errors import SettingError

pytestmark = pytest.mark.no_cover  # Others go through the same lines; tracing composes four times as long.

PUBLISHED = ("cifar10", "cifar100", "fashion_mnist", "mnist", "svhn")
METHODS = ("datm", "dc", "dm", "dsa", "idc", "idm", "mtt", "ncfm")
WEIGHTS = {  # the comments of CMIDD's scripts: data set -> ipc -> weight
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


def test_with_iid_the_accuracies_of_idm_are_reset_at_its_evaluations_alone():
    words = ["method=idm", "dataset=cifar10", "ipc=10"]
    assert compose([*words, "cmi.lambda=1"]).method["meter_reset"] == 100
    assert compose([*words, "regularizer=[cmi,iid]"]).method["meter_reset"] == [2000, 5000, 10000, 20000]
    assert compose([*words, "regularizer=iid", "iid.lambda=0"]).method["meter_reset"] == 100
    assert compose([*words, "regularizer=iid", "method.meter_reset=7"]).method["meter_reset"] == 7
    assert len(set(in_every_recipe("idm", "method.meter_reset"))) == 1


def test_dc_starts_from_real_images_with_cmi_and_from_noise_without():
    words = ["method=dc", "dataset=cifar10", "ipc=10"]
    for more, init in (
        (["cmi=paper"], "real"),
        (["cmi.lambda=50000"], "real"),
        (["cmi=paper", "method.init=noise"], "noise"),
        ([], "noise"),
        (["cmi.lambda=0", "cmi.measure=true"], "noise"),
    ):
        assert compose([*words, *more]).identity["init"] == init, more
    assert len(set(in_every_recipe("dc", "method.init"))) == 1


def in_every_recipe(method, setting):
    """What the recipes of a method but the digits' say, not yet resolved."""
    part, key = setting.split(".")
    recipes = [OmegaConf.load(CONFIGS / "recipe" / f"{method}_{name}.yaml") for name in PUBLISHED]
    return [str(OmegaConf.to_container(recipe, resolve=False)[part][key]) for recipe in recipes]


def test_dm_takes_ten_times_the_step_from_a_hundred_images_of_cifar10s_classes_on():
    """DatasetCondensation/readme.md:177: 10 at 100 to 1250 images per class, of CIFAR100 1 up to 125."""
    for dataset, ipc, lr in (("cifar10", 50, 1), ("cifar10", 100, 10), ("cifar10", 1250, 10), ("cifar100", 125, 1)):
        assert compose(["method=dm", f"dataset={dataset}", f"ipc={ipc}"]).arguments["lr_img"] == lr


def test_dc_takes_a_tenth_of_the_step_with_a_multilayer_perceptron():
    """DatasetCondensation/readme.md:28."""
    for network, lr in (("mlp", 0.01), ("convnet", 0.1), ("vgg11", 0.1)):
        assert compose(["method=dc", "dataset=mnist", f"network={network}"]).arguments["lr_img"] == lr


def test_idc_without_partitioning_keeps_cutout_and_cutmix_on_mnist():
    """Efficient-Dataset-Condensation/misc/reproduce.py:22-30: they go where the factor is above 1."""
    for factor, matched, cutmix in ((2, "color_crop", 0.0), (1, "color_crop_cutout", 0.5)):
        settings = compose(["method=idc", "dataset=mnist", f"method.formation.factor={factor}"])
        given, training = settings.arguments, settings.evaluation.training
        assert (given["augment"].strategy, given["net"].augment.strategy) == (matched, "color_crop")
        assert (given["net"].cutmix, training.cutmix) == (cutmix, cutmix)
        assert training.augment.strategy == "color_crop_scale_rotate"


def test_idc_without_partitioning_is_evaluated_without_cutmix_on_svhn_at_one_image_per_class():
    """Efficient-Dataset-Condensation/misc/reproduce.py:18-21, where the published 46.7 per cent come from."""
    cutout, cutmix = ("color_crop_cutout_scale_rotate", 0.0), ("color_crop_scale_rotate", 0.5)
    for factor, ipc, published in ((1, 1, cutout), (1, 10, cutmix), (2, 1, cutmix), (2, 10, cutmix)):
        settings = compose(["method=idc", "dataset=svhn", f"ipc={ipc}", f"method.formation.factor={factor}"])
        training = settings.evaluation.training
        assert (training.augment.strategy, training.cutmix) == published, (factor, ipc)
        assert settings.arguments["net"].cutmix == 0.5


@pytest.mark.parametrize(
    ("protocol", "dataset", "ipc"),
    [
        *(("dc", "mnist", 10), ("dsa", "mnist", 10), ("idc", "mnist", 10), ("dm", "svhn", 1), ("idc", "svhn", 1)),
        *(("ncfm", "tiny_imagenet", 50), ("mtt", "tiny_imagenet", 50)),
    ],
)
def test_a_protocol_is_for_a_data_set_what_its_method_has_whatever_made_the_images(protocol, dataset, ipc):
    words = [f"dataset={dataset}", f"ipc={ipc}", f"evaluation={protocol}"]
    own = compose([f"method={protocol}", *words]).evaluation
    for method in ("dc", "idc", "ncfm"):
        assert compose([f"method={method}", *words]).evaluation == own, method


def test_ncfms_soft_labels_leave_classes_alone_for_as_long_as_between_two_tests_of_its_code():
    """NCFM/condenser/evaluate.py:86-88, config/ipc{1,10,50}/tinyimagenet.yaml."""
    tiny = (("tiny_imagenet", 1, 2000, 101), ("tiny_imagenet", 10, 300, 51), ("tiny_imagenet", 50, 40, 6))
    for dataset, ipc, epochs, hard in (("cifar10", 50, 2000, 101), *tiny):
        settings = composed(["method=ncfm", f"dataset={dataset}", f"ipc={ipc}", "evaluation=ncfm_soft"])
        training = settings["evaluation"]["training"]
        assert (training["epochs"], training["hard_epochs"], notes) == (epochs, hard, [])


def test_idcs_protocol_augments_as_the_data_set_says_but_for_cutout():
    """Efficient-Dataset-Condensation/argument.py:279-294, 451-452, whatever made the images: no digit is mirrored."""
    for words, strategy in (
        (["dataset=cifar10"], "color_crop_flip_scale_rotate"),
        (["dataset=svhn"], "color_crop_scale_rotate"),
        (["dataset=mnist"], "color_crop_scale_rotate"),
        (["dataset=cifar10", "dataset.augment=crop_cutout"], "crop"),
        (["dataset=cifar10", "dataset.augment=cutout"], "none"),
    ):
        for method in ("dm", "idc") if len(words) == 1 else ("idc",):
            training = compose([f"method={method}", *words, "evaluation=idc"]).evaluation.training
            assert training.augment.strategy == strategy


def test_idc_on_tiny_imagenet_is_as_the_code_of_cmi_has_it():
    """CMIDD/IDC/misc/reproduce.py:34-42."""
    for ipc, lr in ((1, 5e-3), (10, 5e-3), (50, 1e-6)):
        settings = compose(["method=idc", "dataset=tiny_imagenet", f"ipc={ipc}"])
        given = settings.arguments
        assert (given["lr_img"], given["net_images"], given["distance"]) == (lr, 1000, "mse")
        assert settings.network["depth"] == 4


def test_pdd_is_evaluated_as_its_source_ends():
    for method, dataset in itertools.product(("idc", "mtt"), ("cifar10", "cifar100")):
        settings = compose([f"method={method}", f"dataset={dataset}", "schedule=pdd"])
        protocol = settings.evaluation
        assert (protocol.training.epochs, protocol.optimizer) == (500, "carried")
        assert settings.schedule["warm_epochs"] == {"idc": 200, "mtt": 1000}[method]  # between two stages
    plain = compose(["method=idc", "dataset=cifar10"])
    assert (plain.evaluation.training.epochs, plain.evaluation.optimizer) == (1000, "fresh")
    assert "optimizer" not in plain.identity["evaluation"]


def test_seqmatch_on_idc_takes_four_thousand_iterations_of_50_steps_and_then_of_100():
    settings = compose(["method=idc", "dataset=cifar10", "ipc=50", "schedule=seqmatch"])
    later = settings.stages.method_settings(1)
    assert (settings.iterations, settings.arguments["inner_loop"], later["inner_loop"]) == (4000, 50, 100)
    assert settings.schedule["pool"] == settings.iterations // 50


def test_mtt_comes_with_and_without_zca():
    words = ["method=mtt", "dataset=cifar10"]
    assert compose([*words, "recipe=mtt_cifar10_zca", "ipc=50"]).dataset["zca"] is True
    assert compose([*words, "recipe=mtt_cifar10_no_zca", "ipc=10"]).dataset["zca"] is False


@pytest.mark.parametrize(
    ("dataset", "ipc", "published"),
    [  # DATM/configs/{CIFAR-10,CIFAR-100}/ConvIN/IPC<n>.yaml
        ("cifar10", 500, ("recognised", 40, 40, None, 60, 1000, 50, 10)),
        ("cifar10", 1000, ("recognised", 100, 40, None, 60, 1000, 50, 10)),
        ("cifar100", 100, ("recognised", 80, 30, None, 70, 1000, 50, 10)),
    ],
)
def test_datm_has_its_published_settings_for_large_sets_too(dataset, ipc, published):
    method = composed(["method=datm", f"dataset={dataset}", f"ipc={ipc}"])["method"]
    names = ("init", "syn_steps", "min_start_epoch", "first_max_start_epoch", "max_start_epoch", "batch_syn", "lr_img")
    assert tuple(method[name] for name in (*names, "lr_y")) == published
    assert all("experts.training.alpha" in note for note in notes), notes  # FTD's, which end at 50


@pytest.mark.parametrize(
    "dataset", ["imagenette", "imagewoof", "imagemeow", "imagesquawk", "imagefruit", "imageyellow"]
)
def test_ncfm_on_subsets_of_imagenet_trains_its_networks_for_80_epochs_on_cropped_images(dataset):
    settings = compose(["method=ncfm", f"dataset={dataset}"])
    assert (settings.arguments["models"].training.epochs, settings.dataset["fit"]) == (80, "crop")
    assert compose(["method=dm", f"dataset={dataset}"]).dataset["fit"] == "squash"


def test_plug_ins_have_their_published_settings_for_tiny_imagenet():
    staged = compose(["method=mtt", "dataset=tiny_imagenet", "schedule=pdd"])
    assert (staged.evaluation.training.epochs, staged.evaluation.optimizer) == (500, "carried")
    names = ("syn_steps", "expert_epochs", "max_start_epoch", "lr_img", "lr_lr", "batch_syn")
    assert [staged.arguments[name] for name in names] == [20, 2, 20, 10000, 1e-4, 64]
    assert (staged.schedule["warm_epochs"], staged.dataset["zca"]) == (1000, False)
    for ipc, lr in ((10, 5e-3), (50, 1e-6)):
        dream = compose(["method=idc", "dataset=tiny_imagenet", "sampler=dream", f"ipc={ipc}"]).arguments
        assert (dream["lr_img"], dream["net_images"], dream["batch_real"], dream["net"].batch) == (lr, 1000, 64, 64)


def test_the_depth_for_tiny_imagenet_is_said_to_be_published_where_it_is():
    for method in ("datm", "ncfm", "mtt"):
        assert composed([f"method={method}", "dataset=tiny_imagenet"])["network"]["depth"] == 4
        assert not [note for note in notes if "depth" in note]


def test_no_protocol_of_decoded_images_flips_digits():
    for method in ("idc", "ncfm"):
        for dataset in ("digits", "mnist", "svhn"):
            strategy = compose([f"method={method}", f"dataset={dataset}"]).evaluation.training.augment.strategy
            assert strategy == "color_crop_scale_rotate", (method, dataset)
    assert "flip" in compose(["method=ncfm", "dataset=cifar10"]).evaluation.training.augment.strategy


def composed(words):
    """The settings of a run; what is said of them is in ``notes``."""
    notes.clear()
    return composition(words).settings
