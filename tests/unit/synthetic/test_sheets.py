"""Sheets show every image of a set, with names, and divide what is too large for one."""

import pytest
import torch
from PIL import Image

from cmidd.data.published import PUBLISHED
from cmidd.synthetic.sheets import save_sheets, sheets

CIFAR100 = PUBLISHED["cifar100"].classes


def made(classes, ipc, side=32, channels=3):
    labels = torch.arange(classes).repeat_interleave(ipc)
    return torch.linspace(0, 0.9, len(labels)).reshape(-1, 1, 1, 1).expand(-1, channels, side, side), labels


@pytest.mark.parametrize(("classes", "ipc", "side", "count"), [(10, 10, 8, 1), (100, 1, 32, 1), (100, 50, 32, 5)])
def test_a_set_is_divided_among_as_many_sheets_as_can_be_read(classes, ipc, side, count):
    pixels, labels = made(classes, ipc, side)
    found = list(sheets(pixels, labels, CIFAR100[:classes], "DM on something"))
    assert len(found) == count
    for sheet in found:
        assert max(sheet.size) <= 1500
        assert sheet.width > 200


def test_every_image_is_shown():
    pixels, labels = made(4, 5)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    (sheet,) = sheets(pixels[order], labels[order], ["a", "b", "c", "d"], "title")
    shown = torch.tensor(list(sheet.convert("L").crop((0, 28, *sheet.size)).tobytes()))
    for value in pixels[:, 0, 0, 0].mul(255).round().byte().tolist():
        assert (shown == value).sum() >= 32 * 32


def test_a_class_of_fewer_images_is_filled_with_white_and_grey_images_are_shown():
    pixels, labels = made(2, 3, channels=1)
    (sheet,) = sheets(pixels[:4], labels[:4], ["a", "b"], "title")
    assert sheet.mode == "RGB"


def test_the_first_sheet_keeps_its_name_and_the_others_are_numbered_beside_it(tmp_path):
    pixels, labels = made(100, 30, side=16)
    paths = save_sheets(pixels, labels, CIFAR100, "title", tmp_path / "synthetic.png")
    assert [path.name for path in paths][:2] == ["synthetic.png", "synthetic_2.png"]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}
    assert Image.open(paths[0]).size == Image.open(paths[1]).size
