"""A folder of images with train and test, or val, is a data set of two splits; a class may be called train."""

import re

import pytest
from PIL import Image

from cmidd.data.load import load_dataset
from cmidd.utils.errors import SettingError


def write(folder, classes=("ant", "bee"), count=3, shade=100):
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for image in range(count):
            Image.new("RGB", (9, 9), (shade + number, image, 0)).save(folder / name / f"{image}.png")


def load(root, **settings):
    return load_dataset("folder", root=root, size=8, **settings)


@pytest.mark.parametrize("name", ["test", "val", "valid", "validation"])
def test_train_and_a_held_out_folder_are_two_splits(tmp_path, name):
    write(tmp_path / "train", count=4)
    write(tmp_path / name, count=2)
    data = load(tmp_path)
    assert data.classes == ("ant", "bee")
    assert (len(data.train), len(data.test), data.held_out) == (8, 4, "test")


def test_a_validation_folder_beside_test_is_what_tuning_tests_on(tmp_path):
    for name, count in (("train", 4), ("test", 2), ("val", 3)):
        write(tmp_path / name, count=count)
    assert (len(load(tmp_path).train), len(load(tmp_path).test)) == (8, 4)
    tuned = load(tmp_path, validation=0.1)
    assert (len(tuned.train), len(tuned.test), tuned.held_out) == (8, 6, "validation")


def test_a_class_may_be_called_train(tmp_path):
    write(tmp_path, classes=("car", "plane", "train", "test"), count=5)
    data = load(tmp_path)
    assert data.classes == ("car", "plane", "test", "train")
    assert (len(data.train), len(data.test)) == (16, 4)


def test_a_training_set_alone_and_splits_of_other_classes_are_refused(tmp_path):
    write(tmp_path / "one" / "train")
    with pytest.raises(SettingError, match=re.escape(f"give data.root={tmp_path / 'one' / 'train'}")):
        load(tmp_path / "one")
    write(tmp_path / "two" / "train")
    write(tmp_path / "two" / "val", classes=("ant", "wasp"))
    with pytest.raises(SettingError, match="train and val differ in class folders bee, wasp; make them alike"):
        load(tmp_path / "two")
