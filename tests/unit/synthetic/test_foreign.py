"""Every format of others' sets, from a file in the structure that its authors write."""

import collections
import json
import logging
import os
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from cmidd.synthetic import foreign
from cmidd.synthetic.foreign import idm
from cmidd.synthetic.makers import MAKERS
from cmidd.utils.errors import SettingError
from tests.support.refusals import ROOT

CLASSES = tuple("abcde")
IMAGES = torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(5).repeat_interleave(2)
LOGITS = F.one_hot(LABELS, 5) * 8.0 - torch.rand(10, 5, generator=torch.Generator().manual_seed(1))


def read(path, **given):
    return foreign.read(path, CLASSES, 3, **given)


def save(folder, **values):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        torch.save(value, folder / f"{name}.pt")
    return folder


def same(found, images=IMAGES, labels=LABELS):
    assert torch.equal(found.images, images)
    assert found.images.dtype == torch.float32
    assert torch.equal(found.labels, labels)
    assert found.labels.dtype == torch.int64


# --- tensors: MTT and those after it


def test_mtt(tmp_path):
    found = read(save(tmp_path, images_best=IMAGES, labels_best=LABELS) / "images_best.pt")
    same(found)
    assert (found.stored_as, found.maker, found.method, found.protocol) == ("input", "mtt", "mtt", "mtt")
    assert found.syn_lr is found.soft_labels is found.zca is found.factor is None
    assert found.normalised


def test_mtt_whose_whitening_was_undone_is_pixels_of_a_whitened_set(tmp_path, caplog):
    save(tmp_path, images_zca_5000=IMAGES, images_5000=IMAGES + 1, labels_5000=LABELS)
    with caplog.at_level(logging.INFO):
        found = read(tmp_path / "images_zca_5000.pt")
    same(found)
    assert (found.stored_as, found.dataset_settings, found.normalised) == ("pixels", {"zca": True}, ())
    assert "whitened again" in caplog.text


@pytest.mark.parametrize("count", [2, 11])
def test_parts_are_put_together_by_their_numbers(tmp_path, count):
    for number in range(count):
        save(tmp_path, **{f"images_best_{number}": IMAGES + number, f"labels_best_{number}": LABELS})
    found = read(tmp_path / "images_best_1.pt")
    same(found, torch.cat([IMAGES + number for number in range(count)]), LABELS.repeat(count))


def test_a_missing_part_is_named(tmp_path):
    for number in (0, 1, 3):
        save(tmp_path, **{f"images_best_{number}": IMAGES, f"labels_best_{number}": LABELS})
    with pytest.raises(SettingError, match=r"images_best_2\.pt is missing beside images_best_3\.pt"):
        read(tmp_path / "images_best_0.pt")


def test_parts_of_several_shapes_are_refused(tmp_path):
    save(tmp_path, images_best_0=IMAGES, images_best_1=IMAGES[..., :4], labels_best_0=LABELS, labels_best_1=LABELS)
    with pytest.raises(SettingError, match="of several shapes"):
        read(tmp_path / "images_best_0.pt")


def test_datm_has_logits_and_its_step_size(tmp_path):
    folder = tmp_path / "CIFAR10" / "exp" / "Normal"
    learned = LOGITS.clone().requires_grad_()
    save(folder, images_best=IMAGES, labels_best=learned, lr_best=torch.tensor(0.03))
    found = read(folder / "images_best.pt")
    same(found)
    assert found.soft_labels.kind == "logits"
    assert torch.equal(found.soft_labels.values, LOGITS)
    assert not found.soft_labels.values.requires_grad
    assert found.syn_lr == pytest.approx(0.03)
    assert (found.maker, found.method, found.protocol) == ("datm", "datm", "datm")
    # Only who is named decides how the pixels were normalised; DATM whitens in all of its settings.
    assert found.dataset_settings == {}
    assert read(folder / "images_best.pt", method="datm").dataset_settings == {"zca": True}


def test_learned_labels_may_name_other_classes_first_than_their_images_stand_for(tmp_path):
    learned = LOGITS.clone()
    learned[4:6, 3] = 100.0  # both images of class 2
    save(tmp_path, images_best=IMAGES, labels_best=learned, lr_best=torch.tensor(0.03))
    found = read(tmp_path / "images_best.pt")
    assert found.labels.unique().tolist() == [0, 1, 3, 4]
    assert torch.equal(found.soft_labels.values, learned)
    save(tmp_path / "hard", images_best=IMAGES, labels_best=found.labels)
    with pytest.raises(SettingError, match="has images of 4 classes, the data set has 5"):
        read(tmp_path / "hard" / "images_best.pt")


@pytest.mark.parametrize("name", ["images_best.pt", "res_DM_CIFAR10_ConvNet_2ipc.pt", "data.pt", "acc_0.5.pkl"])
def test_of_a_folder_the_set_in_it_is_to_be_given(tmp_path, name):
    for other in (name, "images_100.pt", "labels_best.pt", "args.txt"):
        (tmp_path / other).touch()
    first = name if name < "images_100" or "best" in name else "images_100.pt"
    with pytest.raises(SettingError, match=rf"^synthetic={tmp_path}: a folder; .*, synthetic={tmp_path / first}$"):
        foreign.guess(tmp_path)


def test_a_step_size_beside_hard_labels_makes_no_set_of_datm(tmp_path):
    save(tmp_path, images_best=IMAGES, labels_best=LABELS, lr_best=torch.tensor(0.03))
    found = read(tmp_path / "images_best.pt")
    assert (found.maker, found.syn_lr) == ("mtt", pytest.approx(0.03))


def test_tesla_may_have_probabilities(tmp_path):
    save(tmp_path, images_best=IMAGES, labels_best=LOGITS.softmax(1))
    found = read(tmp_path / "images_best.pt", method="tesla")
    same(found)
    assert found.soft_labels.kind == "probabilities"
    assert (found.maker, found.method, found.protocol, found.syn_lr) == ("tesla", "mtt", "mtt", None)


def test_ftd_averages_in_files_of_another_name(tmp_path):
    save(tmp_path, images_best=IMAGES + 1, labels_best=LABELS, ema_images_best=IMAGES, ema_labels_best=LABELS)
    found = read(tmp_path / "ema_images_best.pt")
    same(found)
    assert found.maker == "ftd"


@pytest.mark.parametrize(("name", "maker"), [("syn_lr_best", "pdd"), ("best_lr", "seqmatch")])
def test_step_sizes_of_pdd_and_seqmatch(tmp_path, name, maker):
    save(tmp_path, images_best=IMAGES, labels_best=LABELS, **{name: torch.tensor(0.02)})
    found = read(tmp_path / "images_best.pt")
    assert (found.syn_lr, found.maker, found.method) == (pytest.approx(0.02), maker, "mtt")


@pytest.mark.parametrize("value", [torch.tensor(-0.1), torch.tensor([0.1, 0.2]), torch.tensor(float("nan")), "0.1"])
def test_a_step_size_that_is_none_is_refused(tmp_path, value):
    save(tmp_path, images_best=IMAGES, labels_best=LABELS, lr_best=value)
    with pytest.raises(SettingError, match=r"lr_best\.pt"):
        read(tmp_path / "images_best.pt")


def test_glad_is_of_imagenet_whose_statistics_are_one(tmp_path):
    save(tmp_path, images_00500=IMAGES, labels_00500=LABELS)
    found = read(tmp_path / "images_00500.pt")
    assert (found.maker, found.method, found.normalised) == ("glad", "dm", ())


def test_haba_is_every_base_image_in_every_style(tmp_path):
    def style(seed):
        torch.manual_seed(seed)
        return {
            "enc.weight": torch.randn(3, 3, 3, 3),
            "enc.bias": torch.randn(3),
            "dec.weight": torch.randn(3, 3, 3, 3),
            "dec.bias": torch.randn(3),
            "scale": torch.randn(1, 3, 6, 6),
            "shift": torch.randn(1, 3, 6, 6),
        }

    styles = [style(seed) for seed in range(2)]
    weights = collections.OrderedDict(
        (f"{k}.{name}", value) for k, each in enumerate(styles) for name, value in each.items()
    )
    save(tmp_path, images_best=IMAGES, weights_best=weights)
    found = read(tmp_path / "images_best.pt")
    assert (found.maker, found.method) == ("haba", "mtt")
    assert torch.equal(found.labels, LABELS.repeat(2))
    network = torch.nn.Conv2d(3, 3, 3), torch.nn.ConvTranspose2d(3, 3, 3)
    for layer, name in zip(network, ("enc", "dec"), strict=True):
        layer.load_state_dict({part: styles[1][f"{name}.{part}"] for part in ("weight", "bias")})
    expected = network[1](network[0](IMAGES[3:4]) * styles[1]["scale"] + styles[1]["shift"])
    torch.testing.assert_close(found.images[13:14], expected.detach())
    save(tmp_path, images_5000=IMAGES, styles_5000=weights)
    assert torch.equal(read(tmp_path / "images_5000.pt").images, found.images)
    save(tmp_path, weights_best={"0.enc.weight": weights["0.enc.weight"]})
    with pytest.raises(SettingError, match=r"weights_best\.pt holds no"):
        read(tmp_path / "images_best.pt")


# --- lists and dictionaries: DC and those after it


@pytest.mark.parametrize("maker", ["DC", "DSA", "DM"])
def test_dc_takes_the_last_experiment_and_says_so(tmp_path, caplog, maker):
    sets = [[IMAGES + 1, LABELS], [IMAGES, LABELS]]
    save(
        tmp_path,
        **{f"res_{maker}_CIFAR10_ConvNet_2ipc": {"data": sets, "accs_all_exps": {"ConvNet": [np.float64(0.4)]}}},
    )
    with caplog.at_level(logging.INFO):
        found = read(tmp_path / f"res_{maker}_CIFAR10_ConvNet_2ipc.pt")
    same(found)
    assert found.factor is None
    assert (found.maker, found.method, found.protocol, found.dataset) == (*(maker.lower(),) * 3, "cifar10")
    assert (found.stored_as, found.zca, found.normalised) == ("input", False, ())
    assert "the last of the 2 sets in it is taken" in caplog.text


@pytest.mark.parametrize("factor", [0, 65, "2", 1.0])
def test_dc_of_ours_says_its_factor_which_is_a_number(tmp_path, factor):
    content = {"data": [[IMAGES, LABELS]], "factor": 1}
    path = save(tmp_path, res_IDM_CIFAR10_ConvNet_2ipc=content) / "res_IDM_CIFAR10_ConvNet_2ipc.pt"
    assert (read(path).factor, read(path).method) == (1, "idm")
    save(tmp_path, res_IDM_CIFAR10_ConvNet_2ipc={**content, "factor": factor})
    with pytest.raises(SettingError, match=f"says factor {factor!r}, expected 1 to 64"):
        read(path)


def test_datadam_in_the_making_and_as_released(tmp_path):
    nested = [[IMAGES + 1, LABELS.float()], [IMAGES, LABELS.float()]]
    save(tmp_path, res_DataDAM_CIFAR100_ConvNet_2ipc_={"data": nested, "accs_all_exps": {}})
    save(tmp_path, syn_data_tinyimagenet_ipc_2={"data": [IMAGES, LABELS.float()]})
    for name, dataset in (
        ("res_DataDAM_CIFAR100_ConvNet_2ipc_", "cifar100"),
        ("syn_data_tinyimagenet_ipc_2", "tiny_imagenet"),
    ):
        found = read(tmp_path / f"{name}.pt")
        same(found)
        assert (found.maker, found.method, found.protocol, found.dataset) == ("datadam", "dm", "dm", dataset)


# --- grids


def test_idc_says_its_factor_beside(tmp_path):
    pixels = IMAGES.sigmoid()
    save(tmp_path, data=[pixels, LABELS])
    path = tmp_path / "data.pt"
    found = read(path)
    same(found, pixels)
    assert (found.factor, found.tile_order, found.shrink, found.stored_as) == (2, "rows", "nearest", "pixels")
    assert (found.maker, found.method, found.protocol, found.normalised) == ("idc", "idc", "idc", ())
    (tmp_path / "args.txt").write_text(json.dumps({"factor": 3, "ipc": 2, "decode_type": "single"}))
    assert read(path).factor == 3
    assert read(path, factor=1).factor == 1
    (tmp_path / "args.txt").write_text(json.dumps({"factor": 3, "decode_type": "multi"}))
    with pytest.raises(SettingError, match="decode_type 'multi'"):
        read(path)


def test_groups_of_classes_of_idc_count_on(tmp_path):
    for number in range(2):
        save(tmp_path / f"x_ipc2_2_phase{number}", data=[IMAGES[:4].sigmoid() + number * 1e-3, LABELS[:4]])
    found = foreign.read(tmp_path / "x_ipc2_2_phase1" / "data.pt", CLASSES[:4], 3)
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    with pytest.raises(SettingError, match="has images of 4 classes, the data set has 5; check dataset="):
        read(tmp_path / "x_ipc2_2_phase1" / "data.pt")
    (tmp_path / "x_ipc2_2_phase0" / "data.pt").unlink()
    with pytest.raises(SettingError, match=r"x_ipc2_2_phase0/data\.pt is missing"):
        read(tmp_path / "x_ipc2_2_phase1" / "data.pt")


@pytest.mark.parametrize(
    ("name", "maker", "protocol"),
    [
        ("data0", "dream", "idc"),
        ("data1200", "dream", "idc"),
        ("data_best", "idc", "idc"),
        ("distilled_data/data_20000", "ncfm", "ncfm"),
        ("distilled_data/data_init", "ncfm", "ncfm"),
    ],
)
def test_dream_seqmatch_and_ncfm_are_grids_of_four(tmp_path, name, maker, protocol):
    path = tmp_path / f"{name}.pt"
    save(path.parent, **{path.stem: [IMAGES, LABELS]})
    found = read(path)
    same(found)  # Not clamped: their own evaluation does not either.
    method = "ncfm" if maker == "ncfm" else "idc"
    assert (found.maker, found.method, found.protocol, found.factor) == (maker, method, protocol, 2)


@pytest.mark.parametrize("name", ["images_best", "data_20", "res_DM_CIFAR10_ConvNet_2ipc"])
@pytest.mark.parametrize("kind", [torch.uint8, torch.int64])
def test_images_in_whole_numbers_are_not_taken_for_network_input(tmp_path, name, kind):
    of_bytes = torch.arange(10 * 3 * 64).remainder(256).view(10, 3, 8, 8).to(kind)
    both = {"data": [[of_bytes, LABELS]]} if name.startswith("res") else [of_bytes, LABELS]
    save(tmp_path, **{name: of_bytes if name == "images_best" else both}, labels_best=LABELS)
    with pytest.raises(SettingError, match=rf"{name}.pt: images of {kind}, with 255 the largest; give floats"):
        read(tmp_path / f"{name}.pt")


def pickled(path, value=(IMAGES, LABELS), protocol=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize(("grids", "factor"), [("True", 2), ("False", 1)])
def test_idm_is_a_pickle_whose_folder_says_if_it_is_grids(tmp_path, grids, factor, protocol):
    path = tmp_path / f"CIFAR10_ipc_2_aug_{grids}_model_ConvNet" / "acc_0.67.pkl"
    found = read(pickled(path, protocol=protocol))
    same(found)
    assert (found.factor, found.tile_order, found.shrink, found.stored_as) == (factor, "columns", "bilinear", "input")
    assert (found.maker, found.method, found.protocol, found.dataset) == ("idm", "idm", "idm", "cifar10")
    assert read(path, factor=3).factor == 3


def test_idm_from_a_gpu_is_read_without_one(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
    path = pickled(tmp_path / "x_acc_0.67.pkl")
    monkeypatch.undo()
    assert b"cuda:0" in path.read_bytes()
    found = read(path)
    same(found)
    assert (found.dataset, found.factor, found.images.device.type) == (None, 2, "cpu")


class Payload:
    def __init__(self, *wanted):
        self.wanted = wanted

    def __reduce__(self):
        return self.wanted


def nested_storage(marker):
    content = pickle.dumps(Payload(os.mkdir, (str(marker),)))
    return Payload(torch.storage._load_from_bytes, (content,))


MALICIOUS = {
    "a call": lambda marker: (Payload(os.mkdir, (str(marker),)), LABELS),
    "a call inside a storage": lambda marker: (nested_storage(marker), LABELS),
    "evaluated text": lambda marker: (Payload(eval, (f"__import__('os').mkdir({str(marker)!r})",)), LABELS),
    "a name beside the allowed": lambda _: (Payload(torch._utils._rebuild_parameter, (IMAGES, False, {})), LABELS),
}


@pytest.mark.parametrize("kind", MALICIOUS)
def test_a_malicious_pickle_is_refused_and_nothing_is_called(tmp_path, kind):
    marker = tmp_path / "marker"
    path = pickled(tmp_path / "acc_0.5.pkl", MALICIOUS[kind](marker))
    with pytest.raises(SettingError, match=r"acc_0\.5\.pkl: cannot be read as tensors"):
        read(path)
    assert not marker.exists()


def larger_than_stored(shape, strides):
    """A pickle of a tensor over four numbers that claims to have more."""
    storage = torch.storage.TypedStorage(
        wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32, _internal=True
    )
    parts = (storage, 0, shape, strides, False, collections.OrderedDict())
    return pickle.dumps((Payload(torch._utils._rebuild_tensor_v2, parts), LABELS))


WASTEFUL = {
    "a memory far away": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "steps without end": b"\x80\x02" + b"N0" * 20_000 + b"N.",
    "a tensor larger than its storage": larger_than_stored((10**9, 3, 8, 8), (0, 0, 0, 0)),
    "a tensor beyond its storage": larger_than_stored((10**9,), (1,)),
    "cut": pickle.dumps((IMAGES, LABELS))[:500],
    "no pair": pickle.dumps(IMAGES),
    "text": b"text",
    "nothing": b"",
}


@pytest.mark.parametrize("flaw", WASTEFUL)
def test_a_damaged_or_wasteful_pickle_is_refused(tmp_path, flaw):
    path = tmp_path / "acc_0.5.pkl"
    path.write_bytes(WASTEFUL[flaw])
    with pytest.raises(SettingError, match=r"acc_0\.5\.pkl"):
        read(path)


def test_a_pickle_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(idm, "MOST_BYTES", 100)
    with pytest.raises(SettingError, match="at most 100 are read"):
        read(pickled(tmp_path / "acc_0.5.pkl"))


# --- arrays


def test_kip_says_a_class_and_is_whitened_in_its_way(tmp_path):
    path = tmp_path / "kip_cifar10_ConvNet3_ssize10_zca_nol_noaug_ckpt1000.npz"
    centred = (F.one_hot(LABELS, 5) - 0.2).numpy()
    np.savez(path, images=IMAGES.permute(0, 2, 3, 1).numpy(), labels=centred)
    found = read(path)
    same(found)
    assert (found.maker, found.dataset, found.whitening, found.soft_labels) == ("kip", "cifar10", "kip", None)
    assert (found.stored_as, found.protocol, found.normalised) == ("input", None, ())


def test_frepo_learns_its_labels(tmp_path):
    path = tmp_path / "np" / "step500000.npz"
    path.parent.mkdir()
    np.savez(path, image=IMAGES.permute(0, 2, 3, 1).numpy(), label=LOGITS.numpy())
    found = read(path)
    same(found)
    assert (found.maker, found.whitening, found.soft_labels.kind) == ("frepo", "frepo", "logits")
    assert torch.equal(found.soft_labels.values, LOGITS)


ARRAYS = {
    "objects": {"image": np.array([{}]), "label": LOGITS.numpy()},
    "other names": {"images": IMAGES.numpy(), "labels": LOGITS.numpy()},
    "labels of one class an image": {"image": IMAGES.numpy(), "label": LABELS.numpy()},
    "labels of other classes": {"image": IMAGES.numpy(), "label": LOGITS.numpy()[:, :4]},
    "not finite": {"image": IMAGES.numpy() * np.nan, "label": LOGITS.numpy()},
}


@pytest.mark.parametrize("flaw", ARRAYS)
def test_a_flaw_in_arrays_is_named(tmp_path, flaw):
    np.savez(tmp_path / "step000001.npz", **ARRAYS[flaw])
    with pytest.raises(SettingError, match=r"step000001\.npz"):
        read(tmp_path / "step000001.npz")


# --- folders


@pytest.mark.parametrize(
    ("name", "maker"),
    [("{0:05d}/class{0:05d}_id{1:05d}.jpg", "rded"), ("new{0:03d}/class{0:03d}_id{1:03d}.jpg", "sre2l")],
)
def test_rded_and_sre2l_number_the_folders_of_classes(tmp_path, name, maker):
    for label in range(5):
        for number in range(2):
            path = tmp_path / "syn" / name.format(label, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (50 * label, 10, 100 * number)).save(path, quality=95)
    found = read(tmp_path / "syn")
    assert torch.equal(found.labels, LABELS)
    assert (found.stored_as, found.factor, found.maker, found.protocol, found.method) == (
        "pixels",
        None,
        maker,
        maker,
        "dm",
    )
    # Whom the pictures' names tell is enough: their pixels are the same whatever normalises them.
    statistics = [found.statistics(dataset) for dataset in ("cifar10", "cifar100", "tiny_imagenet", "mnist")]
    ours = {"rded": [{"statistics": "imagenet"}] * 2, "sre2l": [{}, {"statistics": "cifar10"}]}
    assert statistics == [*ours[maker], {}, {}]
    expected = torch.tensor([(50 * label, 10, 100 * number) for label in range(5) for number in range(2)])
    assert (found.images.mean((2, 3)) * 255 - expected).abs().max() < 3


# --- what the user must say


def test_open_normalisation_is_refused_with_the_words_to_type(tmp_path):
    path = save(tmp_path, images_best=IMAGES, labels_best=LABELS) / "images_best.pt"
    found = read(path)
    for typed in ([], ["dataset=cifar10", "training.lr=0.02"]):
        with pytest.raises(
            SettingError, match=r"images_best\.pt: does not say how its pixels were normalised"
        ) as refused:
            foreign.refuse_open_normalisation(found, path, typed)
        for word in ("method=mtt", "method=datm", "zca=true", "zca=false", "statistics=cifar10"):
            assert word in str(refused.value)
    for word in ("method=mtt", "zca=true", "zca", "dataset.zca=false", "++dataset.statistics=cifar10"):
        foreign.refuse_open_normalisation(found, path, [word])
    save(tmp_path, res_DM_CIFAR10_ConvNet_2ipc={"data": [[IMAGES, LABELS]]})
    settled = tmp_path / "res_DM_CIFAR10_ConvNet_2ipc.pt"
    foreign.refuse_open_normalisation(read(settled), settled, [])


def test_a_method_of_the_users_own_is_known_to_nobody_here(tmp_path):
    path = save(tmp_path, images_best=IMAGES, labels_best=LABELS) / "images_best.pt"
    found = read(path, method="mine")
    assert found.maker is found.method is found.protocol is None
    same(found)


def test_every_maker_is_evaluated_under_a_method_of_ours():
    assert {maker.method for maker in MAKERS.values()} == {"dc", "dsa", "dm", "mtt", "idc", "idm", "datm", "ncfm"}
    protocols = {maker.protocol for maker in MAKERS.values()} - {None}
    assert protocols <= {path.stem for path in (ROOT / "configs" / "evaluation").glob("*.yaml")}


def test_the_users_word_for_the_maker_goes_before_the_name(tmp_path):
    save(tmp_path, res_DM_CIFAR10_ConvNet_2ipc={"data": [[IMAGES, LABELS]]})
    found = read(tmp_path / "res_DM_CIFAR10_ConvNet_2ipc.pt", method="idm", factor=2)
    assert (found.maker, found.method, found.factor) == ("idm", "idm", 2)


def test_a_guess_is_our_method_and_the_data_set(tmp_path):
    for name, expected in {
        "res_DataDAM_TinyImageNet_ConvNet_2ipc_.pt": ("dm", "tiny_imagenet"),
        "res_MyMethod_CIFAR10_ConvNet_2ipc.pt": ("mymethod", "cifar10"),
        "kip_cifar100_ConvNet_ssize100_zca_nol_noaug_ckpt1000.npz": ("dm", "cifar100"),
        "CIFAR100_ipc_1_aug_True_model_ConvNet/acc_0.2.pkl": ("idm", "cifar100"),
        "distilled_data/data_20000.pt": ("ncfm", None),
        "other.pt": (None, None),
    }.items():
        assert foreign.guess(tmp_path / name) == expected, name
