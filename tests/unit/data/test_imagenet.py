"""Tiny-ImageNet and MTT's subsets of ImageNet by name, in every layout, labelled as those who publish on them do."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from cmidd.cli.compose import CONFIGS, compose
from cmidd.data.imagenet import SUBSETS, TINY
from cmidd.data.load import load_dataset
from cmidd.data.published import STATISTICS, title_of
from cmidd.utils.errors import SettingError
from tests.support.refusals import refused

# Label to rank among the sorted WNIDs.
RANKS = {
    "imagenette": list(range(10)),
    "imagewoof": [5, 4, 8, 2, 0, 3, 1, 9, 6, 7],
    "imagemeow": [0, 1, 2, 3, 4, 8, 9, 7, 6, 5],
    "imagesquawk": [2, 7, 3, 8, 9, 1, 5, 0, 6, 4],
    "imagefruit": [7, 8, 3, 4, 5, 9, 6, 1, 0, 2],
    "imageyellow": [3, 8, 7, 6, 9, 5, 4, 2, 1, 0],
}


def grey_of(wnid):
    """A grey of its own for every class."""
    return int(wnid[1:]) % 251


def picture(folder, wnid, number, size=(12, 9)):
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey_of(wnid), 10 * number, 0)).save(folder / f"{number}.png")


def tree(root, wnids, held_out="val", count=1):
    for wnid in wnids:
        for part in ("train", held_out):
            for number in range(count):
                picture(root / part / wnid, wnid, number)
    return root


@pytest.mark.parametrize("name", SUBSETS)
def test_the_labels_of_a_subset_are_in_the_published_order(name):
    wnids = SUBSETS[name]
    assert len(set(wnids)) == 10
    assert [sorted(wnids).index(wnid) for wnid in wnids] == RANKS[name]


PLACES = {"itself": ".", "imagenet": "imagenet", "its name": "imagewoof", "fastai's": "imagewoof2-160"}


@pytest.mark.parametrize("place", PLACES)
def test_a_subset_is_read_from_imagenet_or_a_folder_of_its_own(tmp_path, place):
    more = ["n01440764"] if place == "imagenet" else []
    tree(tmp_path / PLACES[place], [*SUBSETS["imagewoof"], *more])
    data = load_dataset("imagewoof", root=tmp_path, size=8, statistics="imagenet")
    assert (data.classes, len(data.train), data.image_shape) == (SUBSETS["imagewoof"], 10, (3, 8, 8))
    red = (255 * data.preprocessing.inverse(data.test.images)[:, 0, 4, 4]).round().int().tolist()
    assert red == [grey_of(data.classes[label]) for label in data.test.labels]
    assert data.test.labels.tolist() == list(range(10))
    assert "1 of n02096294 are tested on, ImageNet has 50 of a class" in data.understood
    assert data.content is not None


def test_a_place_with_all_ten_classes_comes_before_one_that_shares_a_class(tmp_path):
    wnids = SUBSETS["imagewoof"]
    tree(tmp_path / "imagewoof2-320", wnids)
    tree(tmp_path, wnids[3:4])
    data = load_dataset("imagewoof", root=tmp_path, size=8)
    assert (len(data.train), data.origin) == (10, "imagewoof2-320/{train,val}")


def test_a_validation_set_that_is_the_training_set_is_refused(tmp_path):
    tree(tmp_path, SUBSETS["imagewoof"], held_out="train")
    (tmp_path / "val").symlink_to("train")
    refused("imagenet", "link", lambda: load_dataset("imagewoof", root=tmp_path), "/train and", "/val are one folder")


def test_a_subset_that_is_not_there_is_one_line_with_the_expected_tree(tmp_path):
    wnids = SUBSETS["imagefruit"]

    def read():
        load_dataset("imagefruit", root=tmp_path)

    refused("imagenet", "nothing", read, f"{{train,val}}/{{{','.join(wnids)}}}/<picture>.JPEG", tmp_path)
    tree(tmp_path, wnids[:9])
    refused("imagenet", "a class", read, tmp_path / "train" / wnids[9], "holds no picture")
    tree(tmp_path, wnids[9:], held_out="test")
    refused("imagenet", "two splits", read, "val, test could each be the test set")


def test_unsorted_validation_pictures_are_named(tmp_path):
    wnids = SUBSETS["imagemeow"]
    tree(tmp_path, wnids, held_out="train")
    picture(tmp_path / "val", wnids[0], 0)
    refused("imagenet", "unsorted", lambda: load_dataset("imagemeow", root=tmp_path), "not sorted into class folders")


def original(root):
    """Tiny-ImageNet as it is published, one picture of a class."""
    lines = []
    for number, wnid in enumerate(reversed(TINY)):
        picture(root / "train" / wnid / "images", wnid, 0, (16, 16))
        (root / "val" / "images").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (grey_of(wnid), 0, 0)).save(root / "val" / "images" / f"val_{number}.png")
        lines.append(f"val_{number}.png\t{wnid}\t0\t0\t9\t9")
    picture(root / "test" / "images", TINY[0], 0)
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    (root / "wnids.txt").write_text("\n".join(reversed(TINY)) + "\n")


def arrays(names=TINY, side=16):
    images = torch.tensor([grey_of(wnid) for wnid in names], dtype=torch.uint8)
    return images[:, None, None, None].expand(-1, 3, side, side).contiguous(), torch.arange(len(names))


def one_file(root, names=TINY):
    images, labels = arrays(names)
    held = {
        f"{kind}_{part}": value for part in ("train", "val") for kind, value in (("images", images), ("labels", labels))
    }
    torch.save({"classes": list(names), **held}, root / "tinyimagenet.pt")


def npz(root):
    images, labels = (value.numpy() for value in arrays(side=64))
    held = {
        f"{part}_{kind}": value
        for part in ("train", "test")
        for kind, value in (("images", images), ("labels", labels))
    }
    np.savez(root / "tiny_imagenet.npz", **held)


def parquet(root):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    (root / "data").mkdir()
    rows = []
    for wnid in TINY:
        file = io.BytesIO()
        Image.new(
            "L" if wnid == TINY[0] else "RGB", (64, 64), grey_of(wnid) if wnid == TINY[0] else (grey_of(wnid), 0, 0)
        ).save(file, "PNG")
        rows.append({"bytes": file.getvalue(), "path": None})
    table = pyarrow.table({"image": rows, "label": list(range(200))})
    for part in ("train-00000-of-00001-1359597a978bc4fa", "valid-00000-of-00001-70d52db3c749a935"):
        write_table(table, root / "data" / f"{part}.parquet")


LAYOUTS = {
    "original": lambda root: original(root / "tiny-imagenet-200"),
    "repacked as MTT": lambda root: [
        (
            picture(root / "tiny-imagenet-200" / "train" / w, w, 0, (16, 16)),
            picture(root / "tiny-imagenet-200" / "val" / "images" / w, w, 0, (16, 16)),
        )
        for w in TINY
    ],
    "repacked as NCFM": lambda root: tree(root / "tinyimagenet", TINY),
    "one file": one_file,
    "one file, labels by wnids.txt": lambda root: one_file(root, TINY[::-1]),
    "arrays": npz,
    "parquet": parquet,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_tiny_imagenet_has_the_labels_of_its_sorted_wnids(tmp_path, layout):
    LAYOUTS[layout](tmp_path)
    side = 64 if layout in ("arrays", "parquet") else 16  # These are read as they are.
    data = load_dataset("tiny_imagenet", root=tmp_path, size=side, statistics="imagenet")
    assert (data.classes, data.image_shape, len(data.train), len(data.test)) == (TINY, (3, side, side), 200, 200)
    for split in (data.train, data.test):
        red = (255 * data.preprocessing.inverse(split.images)[:, 0, 8, 8]).round().int().tolist()
        assert red == [grey_of(TINY[label]) for label in split.labels]
        assert sorted(split.labels.tolist()) == list(range(200))
    assert data.content is not None


def test_names_of_its_own_in_one_file_are_not_guessed_to_be_wnids(tmp_path):
    names = [f"class {number}" for number in range(200)]
    images, labels = arrays()
    held = {
        f"{kind}_{part}": value for part in ("train", "val") for kind, value in (("images", images), ("labels", labels))
    }
    torch.save({"classes": names, **held}, tmp_path / "tinyimagenet.pt")
    assert load_dataset("tiny_imagenet", root=tmp_path, size=16).classes == tuple(names)


def test_tiny_imagenet_that_is_not_there_or_not_whole_is_one_line_with_the_expected_tree(tmp_path):
    def read(**more):
        return lambda: load_dataset("tiny_imagenet", root=tmp_path, **more)

    refused("imagenet", "tiny", read(), "train/<WNID>/images/*.JPEG", "val_annotations.txt", "tinyimagenet.pt", ".npz")
    one_file(tmp_path)
    refused("imagenet", "size", read(), "dataset.size=64", "16 pixels")
    (tmp_path / "tinyimagenet.pt").write_bytes(b"PK")
    refused("imagenet", "damaged", read(), tmp_path / "tinyimagenet.pt")
    tree(tmp_path, TINY[:-1])
    refused("imagenet", "a class", read(), "199 class folders", TINY[-1], "missing")


@pytest.mark.parametrize("name", ["tiny_imagenet", *SUBSETS])
def test_every_method_has_settings_that_pass_all_checks(name):
    side, depths = (64, {"mtt": 4, "idm": 3}) if name == "tiny_imagenet" else (128, {})
    for method in ("dm", "mtt", "idm") if name == "tiny_imagenet" else ("mtt",):
        settings = compose([f"method={method}", f"dataset={name}", "ipc=10"])
        assert settings.dataset == {"name": name, "statistics": "imagenet", "zca": False, "validation": 0.0} | {
            "size": side,
            "fit": "squash",
        }
        assert settings.network["depth"] == (depths.get(method, 4) if depths else 5)
    assert compose(["method=idc", f"dataset={name}", "network=resnetap10"]).network["name"] == "resnetap10"
    assert STATISTICS["imagenet"][0] == (0.485, 0.456, 0.406)
    assert title_of(name)[0].isupper()


def test_mtt_on_tiny_imagenet_is_dc_benchs():
    given = {ipc: compose(["method=mtt", "dataset=tiny_imagenet", f"ipc={ipc}"]).arguments for ipc in (1, 10, 50)}
    names = ("syn_steps", "expert_epochs", "max_start_epoch", "batch_syn", "lr_img", "lr_lr", "lr_teacher")
    assert {ipc: [own[name] for name in names] for ipc, own in given.items()} == {
        1: [10, 2, 10, None, 1e4, 1e-4, 0.01],
        10: [20, 2, 40, 200, 1e4, 1e-4, 0.01],
        50: [20, 2, 40, 300, 1e4, 1e-4, 0.01],
    }


@pytest.mark.parametrize("table", ["tiny_imagenet", "imagenet_subsets"])
def test_the_tables_of_published_figures_can_be_read(table):
    from omegaconf import OmegaConf

    from cmidd.analysis.tables.table import read_layout

    columns, rows = read_layout(OmegaConf.to_container(OmegaConf.load(CONFIGS / "command" / "table" / f"{table}.yaml")))
    shown = {
        (row.name, column.dataset, column.ipc): own
        for row in rows
        for column, own in zip(columns, row.published, strict=True)
    }
    if table == "tiny_imagenet":
        assert shown["MTT", "tiny_imagenet", 50] == (28.0, 0.3)
    else:
        assert shown["MTT", "imagenette", 10] == (63.0, 1.3)
        assert shown["MTT", "imagewoof", 10] is None  # none was verified


def test_a_row_of_settings_that_is_wrong_is_named():
    with pytest.raises(SettingError, match=r"dataset\.fit=stretch"):
        compose(["method=dm", "dataset=imagenette", "dataset.fit=stretch"])
