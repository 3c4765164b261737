"""A set of ours in the formats of others, read again: the same images, and what a format cannot hold is refused."""

import dataclasses
import io
import json
import logging
import sys

import pytest
import torch
from PIL import Image

from cmidd import load_synthetic
from cmidd.cli.commands import export as command
from cmidd.data.array_files import _read_parquet
from cmidd.data.load import load_dataset
from cmidd.synthetic import foreign
from cmidd.synthetic.exports import FORMATS, write
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.soft_labels import SoftLabels
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.refusals import tree_of

CLASSES = tuple("0123456789")
ABOUT = {"method": "dm", "dataset": "digits", "network": {"name": "convnet"}}
LOGITS = torch.randn(30, 10, generator=torch.Generator().manual_seed(0))


def made(formation=None, soft=None, **options):
    synthetic = SyntheticSet.from_real(load_dataset("digits", **options), 3, Streams(0)("init"), formation)
    return dataclasses.replace(synthetic, about=dict(ABOUT), syn_lr=torch.tensor(0.0305), soft_labels=soft)


def in_stages():
    synthetic = made()
    synthetic.begin_stage(made().leaf, made().leaf_labels)
    return synthetic


GRIDS = {
    "in columns": Formation(factor=2, tile_order="columns", shrink="bilinear"),
    "of pixels": Formation(factor=2, stored_as="pixels"),
    "that are padded": Formation(factor=3),
}
SETS = {
    "normalised": made,
    "whitened": lambda: made(zca=True),
    **{f"grids {name}": (lambda formation=formation: made(formation)) for name, formation in GRIDS.items()},
    "whitened grids": lambda: made(GRIDS["in columns"], zca=True),
    "beyond [0, 1]": lambda: dataclasses.replace(made(), leaf=4 * made().leaf),
}


def read(folder, name, **given):
    return foreign.read(folder / name, CLASSES, 1, **given)


@pytest.mark.parametrize("name", SETS)
def test_mtt_reads_the_same_images_and_step_size(tmp_path, name):
    synthetic = SETS[name]()
    write(synthetic, tmp_path / "out", "mtt")
    found = read(tmp_path / "out", "images_best.pt")
    assert torch.equal(found.images, synthetic.decode().images)
    assert torch.equal(found.labels, synthetic.decode().labels)
    assert found.syn_lr == pytest.approx(0.0305)
    assert found.soft_labels is None


@pytest.mark.parametrize(("kind", "tiles"), [("logits", 1), ("probabilities", 4)])
def test_mtt_holds_soft_labels(tmp_path, kind, tiles):
    soft = SoftLabels(LOGITS if kind == "logits" else LOGITS.softmax(1), kind)
    write(made(GRIDS["in columns"] if tiles > 1 else None, soft), tmp_path / "out", "mtt")
    found = read(tmp_path / "out", "images_best.pt")
    assert found.soft_labels.kind == kind
    assert torch.equal(found.soft_labels.values, soft.values.repeat(tiles, 1))


@pytest.mark.parametrize("name", [name for name in SETS if "whitened" not in name])
def test_dc_reads_the_same_images(tmp_path, name):
    synthetic = SETS[name]()
    write(synthetic, tmp_path / "out", "dc")
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == f"res_DM_Digits_ConvNet_{len(synthetic.decode().labels) // 10}ipc.pt"
    found = foreign.read(path, CLASSES, 1)
    assert found.factor == 1
    assert read(tmp_path / "out", path.name, factor=2).factor == 2
    assert (found.maker, found.dataset) == ("dm", "digits")
    assert torch.equal(found.images, synthetic.decode().images)
    assert torch.equal(found.labels, synthetic.decode().labels)


@pytest.mark.parametrize("name", SETS)
def test_idc_cuts_the_same_images_from_its_pixels(tmp_path, name):
    synthetic = SETS[name]()
    write(synthetic, tmp_path / "out", "idc")
    found = read(tmp_path / "out", "data.pt")
    pixels, labels = torch.load(tmp_path / "out" / "data.pt")
    assert torch.equal(found.images, pixels)
    assert torch.equal(found.labels, labels)
    assert found.factor == (2 if name in ("grids in columns", "grids of pixels") else 1)
    assert json.loads((tmp_path / "out" / "args.txt").read_text())["ipc"] == len(labels) // 10
    # IDC counts tiles by rows; which they are is the same.
    formation = dataclasses.replace(synthetic.formation, factor=found.factor, stored_as="pixels")
    back = dataclasses.replace(synthetic, leaf=found.images, leaf_labels=labels, formation=formation).decode()
    assert torch.equal(back.labels, synthetic.decode().labels)
    torch.testing.assert_close(back.images, synthetic.decode().images, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["normalised", "grids of pixels"])
def test_a_table_of_pictures_reads_as_a_data_set(tmp_path, name):
    synthetic = SETS[name]()
    write(synthetic, tmp_path / "out", "parquet")
    path = tmp_path / "out" / "data" / "train-00000-of-00001.parquet"
    (path.parent / "test-00000-of-00001.parquet").write_bytes(path.read_bytes())
    source = _read_parquet(path.parent, "image", "label", "test")
    pixels = synthetic.transform.inverse(synthetic.decode().images)
    assert torch.equal(source.train.labels, synthetic.decode().labels)
    found = source.train.images[:, :1].float() / 255
    torch.testing.assert_close(found, pixels.clamp(0, 1), rtol=0, atol=1 / 510 + 1e-5)


def test_the_table_says_its_classes_as_the_hub_does(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write(made(), tmp_path / "out", "parquet")
    table = parquet.read_table(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    said = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert said["label"] == {"names": list(load_dataset("digits").classes), "_type": "ClassLabel"}
    first = table.column("image")[0].as_py()
    assert Image.open(io.BytesIO(first["bytes"])).size == (8, 8)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingError, match=r"format=parquet: needs pyarrow; pip install 'cmidd\[parquet\]'"):
        write(made(), tmp_path / "out", "parquet")
    assert not (tmp_path / "out").exists()


CANNOT = [
    *((name, in_stages, "holds one stage, the set has 2") for name in ("mtt", "dc", "idc", "parquet")),
    *((name, lambda: made(soft=SoftLabels(LOGITS, "logits")), "labels=hard") for name in ("dc", "idc", "parquet")),
    ("dc", lambda: made(zca=True), "those of the set are whitened; give format=mtt"),
]


@pytest.mark.parametrize(("name", "make", "reason"), CANNOT)
def test_what_a_format_cannot_hold_is_refused_with_the_reason(tmp_path, name, make, reason):
    with pytest.raises(SettingError, match=f"^format={name}: .*{reason}"):
        write(make(), tmp_path / "out", name)
    assert not tree_of(tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_overwritten(tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(SettingError, match="exists and is not empty"):
        write(made(), tmp_path / "out", name)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine"]


def test_how_the_images_were_normalised_is_told(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        write(made(GRIDS["in columns"]), tmp_path / "plain", "mtt")
        write(made(zca=True), tmp_path / "zca", "mtt")
        write(made(zca=True), tmp_path / "idc", "idc")
    assert "the images are normalised with mean [0.30" in caplog.text
    assert "the images are whitened" in caplog.text
    assert "the 4 tiles of every image are written as images of their own" in caplog.text
    assert "evaluate them by a method of grids with factor=1" in caplog.text
    assert "IDC normalises its pixels" in caplog.text


def test_the_command_writes_each_format(tmp_path):
    made(soft=SoftLabels(LOGITS, "logits")).save(tmp_path / "synthetic.safetensors")
    source = str(tmp_path / "synthetic.safetensors")
    command.main([source, str(tmp_path / "mtt"), "format=mtt"])
    assert {path.name for path in (tmp_path / "mtt").iterdir()} == {"images_best.pt", "labels_best.pt", "lr_best.pt"}
    command.main([source, str(tmp_path / "dc"), "format=dc", "labels=hard"])
    assert (tmp_path / "dc" / "res_DM_Digits_ConvNet_3ipc.pt").exists()
    command.main([source, str(tmp_path / "png"), "labels=hard"])
    assert load_synthetic(tmp_path / "png").soft_labels is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["format=pgn"], "format=pgn: unknown; did you mean png? choose one of png, mtt, dc, idc, parquet"),
        (["fromat=mtt"], "fromat: unknown setting; did you mean format?"),
        (["labels=soft"], "labels=soft: Input should be 'all' or 'hard'"),
        (["format=mtt", "format=dc"], "format=mtt format=dc: one of these twice"),
    ],
)
def test_words_that_are_none_are_refused_before_a_set_is_read(tmp_path, capsys, words, said):
    with pytest.raises(SystemExit):
        command.main([str(tmp_path / "absent"), str(tmp_path / "out"), *words])
    assert said in capsys.readouterr().err
