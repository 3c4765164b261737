"""Pictures are understood and held out before any is decoded; what was understood is recorded."""

import pytest
import torch
from PIL import Image

from cmidd.cli.compose import compose
from cmidd.data.image_files import Geometry, Pictures, read_picture
from cmidd.data.layouts import understand
from cmidd.data.load import DataSettings, load_dataset
from cmidd.data.sets import folder as folder_reader
from cmidd.data.split import Seen, stratified_split
from cmidd.evaluation.subject import Place, subject_of
from cmidd.runs.record import read_record
from cmidd.runs.run import run
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import files
from cmidd.utils.random_streams import Streams
from tests.support.data_files import images
from tests.support.layouts import WNIDS, banded, classes, picture, splits
from tests.support.runs import TINY, TINY_METHOD

GEOMETRY = Geometry(8, 3, "crop")


def test_a_layout_is_understood_without_a_picture_being_opened(tmp_path, monkeypatch):
    splits(tmp_path, "train", "test", "val", count=3)
    monkeypatch.setattr(Image, "open", None)
    source = folder_reader.read(tmp_path, False, size=8)
    parts = source.train, source.test, source.validation
    assert [(type(part), len(part), part.labels.bincount().tolist()) for part in parts] == [
        (Pictures, 6, [3, 3]),
        (Pictures, 4, [2, 2]),
        (Pictures, 2, [1, 1]),
    ]
    assert repr(source) == f"Source(6 training and 4 test images of 2 classes, from {tmp_path.name})"


def test_pictures_are_held_out_as_their_pixels_would_be(tmp_path):
    layout = understand(images(tmp_path / "p", count=7), "data.root=p")
    pictures = layout.pictures("all", GEOMETRY, "data.root=p")
    for before, after in zip(stratified_split(pictures, 0.2), stratified_split(pictures.decoded(), 0.2), strict=True):
        assert torch.equal(before.decoded().images, after.images)
        assert torch.equal(before.labels, after.labels)


def test_a_subset_of_the_classes_has_an_order_of_its_own(tmp_path):
    layout = understand(classes(tmp_path, *WNIDS), f"data.root={tmp_path}")
    assert layout.classes == tuple(sorted(WNIDS))
    chosen = layout.pictures("all", GEOMETRY, "data.root=p", classes=[WNIDS[2], WNIDS[0]])
    assert [(path.parent.name, label) for path, label in zip(chosen.paths, chosen.labels.tolist(), strict=True)] == [
        *[(WNIDS[2], 0)] * 2,
        *[(WNIDS[0], 1)] * 2,
    ]


def test_a_picture_comes_with_its_size_and_what_was_done(tmp_path):
    path = tmp_path / "0.png"
    Image.new("LA", (12, 9), (0, 0)).save(path)
    pixels, seen = read_picture(path, tmp_path, Geometry(8, 1, "pad"), "data.root=p")
    assert (pixels.shape, pixels.dtype) == ((1, 8, 8), torch.uint8)
    assert seen == Seen((12, 9), (12, 9), {"transparent (laid on white)": 1})
    other = Seen((4, 2), (40, 20), {"transparent (laid on white)": 3})
    assert str(Seen.together([seen, other])) == "pictures of 4x2 to 40x20, 4 transparent (laid on white)"


@pytest.mark.parametrize(("size", "side"), [((300, 200), 64), ((201, 333), 64), ((65, 64), 32)])
def test_a_crop_is_that_of_torchvision(tmp_path, size, side):
    from torchvision.transforms.v2 import CenterCrop, Compose, InterpolationMode, PILToTensor, Resize

    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (size[1] // 8, size[0] // 8, 3), generator=generator, dtype=torch.uint8)
    path = tmp_path / "0.png"
    Image.fromarray(noise.numpy()).resize(size).save(path)
    theirs = Compose([Resize(side, InterpolationMode.BICUBIC), CenterCrop(side), PILToTensor()])(Image.open(path))
    assert torch.equal(read_picture(path, tmp_path, Geometry(side), "data.root=p")[0], theirs)


def test_what_was_understood_is_recorded_and_only_another_fit_is_part_of_the_identity(tmp_path):
    root = splits(tmp_path / "flowers", "train", "val")
    picture(root / "train" / "ant" / "0.png", size=(20, 10))
    words = [*TINY, *TINY_METHOD["dm"], "dataset=folder", f"data.root={root}", "dataset.size=8", "ipc=1"]
    words += ["evaluation.baselines=[]", f"results_root={tmp_path / 'results'}"]
    settings = compose(words)
    run(settings, lambda _: {})
    recorded = read_record(settings.folder / "result.json").understood
    assert recorded.startswith("ImageFolder; 4 in train (train), 2 in val (test); 2 classes: ant 2+1, bee")
    assert recorded.endswith("8x8 by dataset.fit=crop; pictures of 8x8 to 20x10")
    assert "fit" not in files.read_json(settings.folder / "settings.json")["dataset"]
    assert compose([*words, "dataset.fit=pad"]).identity["dataset"]["fit"] == "pad"


@pytest.mark.parametrize("said", ["crop", "pad", None])
def test_a_set_is_tested_on_pictures_of_its_own_fit_which_was_squash_before_sets_said_so(tmp_path, said):
    root = splits(tmp_path / "flowers", "train", "val")
    for name in ("ant", "bee"):
        banded(root / "val" / name / "0")
    given = {"name": "folder", "size": 20, "channels": 3, **({} if said is None else {"fit": said})}
    data = load_dataset(**given, root=root)
    synthetic = SyntheticSet.from_real(data, 1, Streams(0)("init"))
    training = {"epochs": 1, "lr": 0.1, "batch": 2}
    synthetic.about = {"data": given, "network": {"name": "convnet"}, "training": training}
    subject = subject_of(synthetic, "set", Place(DataSettings(str(root)), torch.device("cpu")))
    expected = load_dataset(**{**given, "fit": said or "squash"}, root=root, preprocessing=synthetic.transform)
    assert torch.equal(subject.data.test.images, expected.test.images)
