"""Every layout and kind of file that users bring is read as the table says, or refused; none is read wrong."""

import shutil
from functools import partial

import numpy as np
import pytest

from cmidd.data.load import DATASETS
from tests.support.layouts import (
    ANT,
    BEE,
    COW,
    DOG,
    WNIDS,
    Case,
    annotation,
    arrays,
    banded,
    classes,
    deep,
    deep_pgm,
    deep_transparent,
    frames,
    halves,
    hub,
    mode,
    mpo,
    palette,
    picture,
    solid,
    splits,
    text,
    then,
    tiny_imagenet,
)
from tests.support.refusals import refused

TWO = {"ant": (1, 1), "bee": (1, 1)}  # of two images a class, a fixed fifth held out
SPLIT = {"ant": (2, 1), "bee": (2, 1)}
TINY = dict.fromkeys(WNIDS, (3, 2))
WHITE, BLACK, MIDDLE = (255, 255, 255), (0, 0, 0), (4, 4)
ON_WHITE = (227, 127, 127)  # (200, 0, 0) of which 128/255 covers white
BAND = {"size": 20}
TRAIN_CLASS = {"car": (4, 1), "plane": (4, 1), "train": (4, 1)}


def link(at, target):
    return lambda folder: (folder / at).symlink_to(folder / target, target_is_directory=(folder / target).is_dir())


def make(at):
    return lambda folder: (folder / at).mkdir(parents=True)


def two(*names, **given):
    return lambda folder: classes(folder, *(names or ("ant", "bee")), **given)


def pair(*names, **given):
    return lambda folder: splits(folder, *names, **given)


def put(at, colour=ANT):
    return lambda folder: picture(folder / at, colour)


def write(at, content="some text\n"):
    return lambda folder: text(folder / at, content)


def middle(colour):
    return {"ant": {MIDDLE: colour}}


def turned(number, suffix=".png"):
    return mode(lambda path: halves(path, (8, 8), number, suffix))


LAYOUTS = [
    Case("train and test", pair("train", "test"), SPLIT, published=True, says=("ImageFolder; 4 in train",)),
    Case("train and val", pair("train", "val"), SPLIT, published=True, says=("2 in val (test)",)),
    Case("train and valid", pair("train", "valid"), SPLIT, published=True),
    Case("train and validation", pair("train", "validation"), SPLIT, published=True),
    Case(
        "train, test and val",
        pair("train", "test", "val", count=3),
        {"ant": (3, 2, 1), "bee": (3, 2, 1)},
        says=("4 in test (test), 2 in val (validation)",),
    ),
    Case("Train and Test", pair("Train", "Test"), SPLIT),
    Case(
        "one folder a class",
        two(count=5),
        {"ant": (4, 1), "bee": (4, 1)},
        says=("one folder a class", "ant 5, bee 5", "fixed fifth", "pictures of 8x8"),
    ),
    Case("Tiny-ImageNet", tiny_imagenet, TINY, published=True, near=3, says=("Tiny-ImageNet's original", "(title0)")),
    Case("Tiny-ImageNet, test without labels", tiny_imagenet, TINY, near=3, says=("2 in test, without labels",)),
    Case(
        "Tiny-ImageNet, val/images sorted",
        partial(tiny_imagenet, sorted_into="images/{}"),
        TINY,
        published=True,
        near=3,
        says=("sorted into val/images",),
    ),
    Case(
        "Tiny-ImageNet, val sorted",
        partial(tiny_imagenet, sorted_into="{}"),
        TINY,
        published=True,
        near=3,
        says=("ImageFolder, named by WNIDs",),
    ),
    Case(
        "Tiny-ImageNet, val sorted, images below",
        partial(tiny_imagenet, sorted_into="{}/images", annotations=None),
        TINY,
        near=3,
    ),
    Case(
        "ImageNet with sorted val",
        then(
            pair("train", "val", of=WNIDS),
            put("test/ILSVRC2012_test_1.png"),
            write("LOC_synset_mapping.txt", "n01440764 tench, Tinca\nn02102040 English springer\n"),
        ),
        dict.fromkeys(WNIDS, (2, 1)),
        published=True,
        says=("n01440764 (tench) 2+1", "n02102040 (English springer)", "1 in test, without labels"),
    ),
    Case(
        "RDED",
        pair("train", "val", of=("00000", "00001")),
        {"00000": (2, 1), "00001": (2, 1)},
        published=True,
        says=("RDED",),
    ),
    Case(
        "Imagenette",
        then(pair("train", "val", of=WNIDS), write("noisy_imagenette.csv", "path,noisy_labels_0\n")),
        dict.fromkeys(WNIDS, (2, 1)),
        published=True,
        says=("Imagenette", "1 no picture by name"),
    ),
    Case(
        "Imagewoof with unsup",
        then(pair("train", "val", of=WNIDS), write("noisy_imagewoof.csv"), put("unsup/1.png")),
        dict.fromkeys(WNIDS, (2, 1)),
        published=True,
        says=("Imagewoof", "1 in unsup, without labels"),
    ),
    Case("SRe2L's names", two("new000", "new001"), {"new000": (1, 1), "new001": (1, 1)}, published=True),
    Case(
        "classes 0, 1, 10, 2",
        two("0", "1", "2", "10"),
        dict.fromkeys(("0", "1", "10", "2"), (1, 1)),
        published=True,
        pixels={"10": {MIDDLE: DOG}, "2": {MIDDLE: COW}},
        says=("sorted as text",),
    ),
    Case("numbers with a gap", two("1", "2", "4"), dict.fromkeys("124", (1, 1)), says=("are not 0 to 2",)),
    Case(
        "WNIDs alone with words.txt",
        then(two(*WNIDS), write("words.txt", "n01440764\ttench, Tinca\n")),
        dict.fromkeys(WNIDS, (1, 1)),
        says=("named by WNIDs", "(tench)"),
    ),
    Case("sub-folders of a class", then(two(), put("ant/deep/down/1.png")), {"ant": (2, 1), "bee": (1, 1)}),
    Case("only sub-folders", then(two("ant", below="a"), put("bee/b/0.png", BEE), put("bee/c/0.png", BEE)), TWO),
    Case(
        "hidden and other files",
        then(
            two(),
            write(".DS_Store"),
            write("ant/Thumbs.db"),
            write("ant/._0.png"),
            write("bee/.hidden.jpg"),
            write("notes.txt"),
            write("labels.csv"),
            write("bee/0.xml"),
            make(".git/refs"),
        ),
        TWO,
        says=("4 hidden", "4 no picture by name"),
    ),
    Case("a Mac's archive unpacked", then(two(), write("__MACOSX/ant/._0.png")), TWO, says=("1 hidden",)),
    Case("a picture outside of classes", then(two(), put("cover.png")), TWO, says=("1 outside of class folders",)),
    Case("folders without pictures beside splits", then(pair("train", "val"), write("Annotations/a.xml")), SPLIT),
    Case("suffixes in capitals", then(two(suffix=".PNG"), put("ant/2.JPEG")), {"ant": (2, 1), "bee": (1, 1)}, near=3),
    Case("a class called train", two("car", "plane", "train", count=5), TRAIN_CLASS),
    Case(
        "classes called train and test",
        two("car", "plane", "test", "train"),
        dict.fromkeys(("car", "plane", "test", "train"), (1, 1)),
    ),
    Case(
        "a class train with sub-folders too",
        then(two("car", "plane", "train", count=4), put("train/a/9.png", COW)),
        {"car": (3, 1), "plane": (3, 1), "train": (4, 1)},
    ),
    Case(
        "names with blanks and of other scripts",
        two("Käfer  rot", "猫", "ёж"),
        dict.fromkeys(("Käfer  rot", "ёж", "猫"), (1, 1)),
        pixels={"ёж": {MIDDLE: COW}, "猫": {MIDDLE: BEE}},
    ),
    Case("a link to a picture inside", then(two(), link("ant/9.png", "ant/0.png")), {"ant": (2, 1), "bee": (1, 1)}),
    Case(
        "a class that is a link inside",
        then(
            two(),
            make("kept"),
            put("kept/deep/0.png", COW),
            put("kept/deep/1.png", COW),
            make("top"),
            lambda f: (f / "kept").rename(f / ".kept"),
            lambda f: (f / "top").rmdir(),
            link("cow", ".kept/deep"),
        ),
        {**TWO, "cow": (1, 1)},
    ),
    Case(
        "splits that are links inside, beside a link to nothing",
        then(
            pair("train", "test"),
            lambda f: [(f / name).rename(f / f".{name}") for name in ("train", "test")],
            *(link(name, f".{name}") for name in ("train", "test")),
            link("README.md", "none"),
        ),
        SPLIT,
    ),
    Case(
        "arrays as MedMNIST's",
        arrays(),
        {"0": (2, 1, 1), "1": (2, 1, 1)},
        root="mine.npz",
        dataset="arrays",
        published=True,
    ),
    Case(
        "CIFAR10 of the hub",
        hub,
        dict.fromkeys(
            ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"), (1, 1)
        ),
        pixels={"truck": {MIDDLE: (180, 180, 180)}},
        dataset="cifar10",
        published=True,
    ),
]

FILES = [
    Case(
        "300x200, crop",
        mode(banded),
        TWO,
        {"ant": {(10, 2): BEE, (10, 17): BEE}},
        settings=BAND,
        says=("8x8 to 300x200", "dataset.fit=crop"),
        published=True,
    ),
    Case(
        "300x200, squash",
        mode(banded),
        TWO,
        {"ant": {(10, 0): ANT, (10, 10): BEE, (10, 19): ANT}},
        settings={**BAND, "fit": "squash"},
        says=("dataset.fit=squash",),
        published=True,
    ),
    Case(
        "300x200, pad",
        mode(banded),
        TWO,
        {"ant": {(0, 10): BLACK, (19, 10): BLACK, (10, 0): ANT, (10, 10): BEE}},
        settings={**BAND, "fit": "pad"},
    ),
    Case(
        "200x300, crop", mode(partial(banded, upright=True)), TWO, {"ant": {(2, 10): BEE, (17, 10): BEE}}, settings=BAND
    ),
    Case(
        "200x300, pad",
        mode(partial(banded, upright=True)),
        TWO,
        {"ant": {(10, 0): BLACK, (10, 19): BLACK, (0, 10): ANT, (10, 10): BEE}},
        settings={**BAND, "fit": "pad"},
    ),
    Case(
        "EXIF 6 in a JPEG",
        turned(6, ".jpg"),
        TWO,
        {"ant": {(1, 7): ANT, (6, 7): ANT, (1, 0): BEE}},
        near=6,
        says=("2 turned as EXIF says",),
        published=True,
    ),
    Case("EXIF 8", turned(8), TWO, {"ant": {(1, 0): ANT, (6, 0): ANT, (1, 7): BEE}}),
    Case("EXIF 3", turned(3), TWO, {"ant": {(7, 1): ANT, (0, 6): BEE}}),
    Case("EXIF 1", turned(1), TWO, {"ant": {(0, 1): ANT, (7, 6): BEE}}),
    Case(
        "EXIF 6 in a TIFF",
        turned(6, ".tif"),
        TWO,
        {"ant": {(1, 7): ANT, (6, 7): ANT, (1, 0): BEE}},
        says=("2 turned as EXIF says",),
    ),
    Case(
        "EXIF 6 of 40x20",
        mode(lambda path: halves(path, (40, 20), 6)),
        TWO,
        {"ant": {(4, 0): BEE, (4, 7): ANT}},
        says=("8x8 to 20x40",),
    ),
    Case(
        "RGBA",
        mode(solid("RGBA", (200, 0, 0, 128))),
        TWO,
        middle(ON_WHITE),
        published=True,
        says=("2 transparent (laid on white)",),
    ),
    Case("RGBA that is opaque", mode(solid("RGBA", (*ANT, 255))), TWO, middle(ANT)),
    Case("RGBA in WebP", mode(solid("RGBA", (0, 0, 0, 0), ".webp", lossless=True)), TWO, middle(WHITE)),
    Case("LA", mode(solid("LA", (0, 0))), TWO, middle(WHITE), published=True, says=("2 transparent",)),
    Case("a palette", mode(palette), TWO, middle(ANT)),
    Case(
        "a palette with a transparent colour",
        mode(partial(palette, transparency=0)),
        TWO,
        middle(WHITE),
        published=True,
        says=("2 transparent",),
    ),
    Case("RGB with a transparent colour", mode(solid("RGB", ANT, transparency=ANT)), TWO, middle(WHITE)),
    Case(
        "CMYK in a TIFF",
        mode(solid("CMYK", (100, 50, 20, 60), ".tif")),
        TWO,
        middle((119, 157, 180)),
        near=1,
        published=True,
        says=("2 of CMYK",),
    ),
    Case("CMYK in a JPEG", mode(solid("CMYK", (0, 0, 0, 0), ".jpg")), TWO, middle(WHITE), near=3, says=("CMYK",)),
    Case(
        "16 bits, 65535",
        mode(deep(65535, np.uint16, ".png")),
        TWO,
        middle(WHITE),
        published=True,
        says=("2 of 16 bits (scaled to 8)",),
    ),
    Case("16 bits, 4096", mode(deep(4096, np.uint16, ".png")), TWO, middle((16, 16, 16)), published=True),
    Case("16 bits in a TIFF", mode(deep(32896, np.uint16, ".tif")), TWO, middle((128, 128, 128))),
    Case("16 bits in a PGM", mode(deep_pgm(0x8080)), TWO, middle((128, 128, 128))),
    Case("1 bit", mode(solid("1", 1)), TWO, middle(WHITE), published=True),
    Case("grey as RGB", mode(solid("L", 77)), TWO, middle((77, 77, 77))),
    Case(
        "RGB as grey",
        mode(solid("RGB", (255, 0, 0))),
        TWO,
        {"ant": {MIDDLE: (76,)}, "bee": {MIDDLE: (119,)}},
        settings={"channels": 1},
    ),
    Case("an animated GIF", mode(frames), TWO, middle(ANT), says=("2 of several frames (the first is read)",)),
    Case("damaged EXIF", mode(solid("RGB", ANT, ".jpg", exif=b"Exif\0\0nonsense")), TWO, near=3),
    Case(
        "a phone's MPO named as a JPEG",
        mode(mpo),
        TWO,
        near=3,
    ),
    Case("BMP", mode(solid("RGB", ANT, ".bmp")), TWO),
    Case("PPM", mode(solid("RGB", ANT, ".ppm")), TWO),
    Case("a PNG named as a JPEG", then(two(), lambda f: (f / "ant" / "0.png").rename(f / "ant" / "0.jpg")), TWO),
]

REFUSED = [
    Case("absent", lambda folder: None, refused=("no such folder",), root="none"),
    Case("an empty folder", make("x"), refused=("found 0 class",), root="x"),
    Case("one class", two("ant"), refused=("found 1 class",)),
    Case("one class in splits", pair("train", "test", of=("ant",)), refused=("found 1 class",)),
    Case(
        "classes below one more folder",
        lambda f: classes(f / "flowers", "ant", "bee"),
        refused=("give data.root=", "/flowers"),
    ),
    Case("an empty class", then(two(), make("cow")), refused=("'cow' holds no image",)),
    Case(
        "an empty class of val",
        then(pair("train", "val"), make("val/cow"), put("train/cow/1.png")),
        refused=("'cow' of val holds no image",),
    ),
    Case(
        "a class of pictures of another format",
        then(two(), write("cow/1.HEIC"), write("cow/2.HEIC")),
        refused=("'cow' holds no image; 2 other files are there, save them as pictures that are read (.bmp, ",),
    ),
    Case("a class of hidden files", then(two(), write("cow/.0.png")), refused=("'cow' holds no image",)),
    Case("a class in val alone", then(pair("train", "val"), put("val/cow/1.png")), refused=("class folders cow",)),
    Case("a class in train alone", then(pair("train", "val"), put("train/cow/1.png")), refused=("class folders cow",)),
    Case(
        "val without class folders",
        then(lambda f: classes(f / "train", "ant", "bee"), put("val/0.png")),
        refused=("val holds pictures and no class folders",),
    ),
    Case(
        "val with pictures beside its classes",
        then(pair("train", "val"), put("val/0.png")),
        refused=("val holds pictures beside class folders",),
    ),
    Case(
        "train with pictures beside its classes",
        then(pair("train", "val"), put("train/0.png")),
        refused=("train holds pictures beside class folders",),
    ),
    Case(
        "test without labels and no val",
        then(lambda f: classes(f / "train", "ant", "bee"), put("test/0.png")),
        refused=("test holds pictures and no class folders",),
    ),
    Case(
        "train and test without class folders",
        then(put("train/cat.0.jpg"), put("test/1.jpg")),
        refused=("test, train are named as splits",),
    ),
    Case(
        "Tiny-ImageNet without annotations",
        partial(tiny_imagenet, annotations=None),
        published=True,
        refused=("holds pictures and no class folders", "val_annotations.txt"),
    ),
    Case(
        "Tiny-ImageNet, an annotation too many",
        annotation(lambda lines: lines.append(f"x.JPEG\t{WNIDS[0]}\t0\n")),
        refused=("line 7 names 'x.JPEG'",),
    ),
    Case(
        "Tiny-ImageNet, an annotation too few",
        annotation(lambda lines: lines.pop(2)),
        refused=("does not say of what class 'val_2.JPEG' is",),
    ),
    Case(
        "Tiny-ImageNet, annotated twice",
        annotation(lambda lines: lines.append(lines[0])),
        refused=("'val_0.JPEG' again",),
    ),
    Case(
        "Tiny-ImageNet, an unknown class",
        annotation(lambda lines: lines.append("val_0.JPEG\tn9\t0\n")),
        refused=("class 'n9', which train has not",),
    ),
    Case(
        "Tiny-ImageNet, blanks for tabs",
        annotation(lambda lines: lines.insert(0, "val_0.JPEG n01440764 0\n")),
        refused=("line 1 is no picture and WNID",),
    ),
    Case(
        "Tiny-ImageNet, binary annotations",
        partial(tiny_imagenet, annotations=b"\xff\xfe\x00"),
        refused=("cannot be read as text",),
    ),
    Case(
        "Tiny-ImageNet, partly sorted",
        then(tiny_imagenet, put(f"val/images/{WNIDS[0]}/9.png")),
        refused=("pictures beside its folders",),
    ),
    Case(
        "splits below one more folder",
        lambda f: splits(f / "cars", "train", "test"),
        refused=("give data.root=", "/cars"),
    ),
    Case(
        "splits below two more folders", lambda f: splits(f / "data" / "cars", "train", "test"), refused=("/data/cars",)
    ),
    Case(
        "several data sets",
        lambda f: (splits(f / "cars", "train", "test"), splits(f / "cats", "train", "val")),
        refused=("in several folders", "cars", "cats"),
    ),
    Case(
        "splits in the classes",
        lambda f: (splits(f / "ant", "train", "test"), splits(f / "bee", "train", "test")),
        refused=("in several folders",),
    ),
    Case(
        "domains of the same classes",
        then(*(partial(lambda f, d: classes(f / d, "ant", "bee"), d=d) for d in ("art", "photo"))),
        refused=("the same folders ant, bee",),
    ),
    Case("training and testing", pair("training", "testing"), refused=("'testing' holds folders as a split does",)),
    Case("train alone", pair("train"), refused=("no test, val", "/train")),
    Case("val alone", pair("val"), refused=("there is no train",)),
    Case("val and valid", pair("train", "val", "valid"), refused=("val, valid could each",)),
    Case("train and Train", pair("train", "Train", "test"), refused=("Train, train could each",)),
    Case("splits beside a class", then(pair("train", "val"), put("car/0.png")), refused=("'car' holds pictures",)),
    Case("splits beside pictures", then(pair("train", "val"), put("0.png")), refused=("lie beside the splits",)),
    Case(
        "pictures and a table", then(put("0.png"), put("1.png"), write("labels.csv")), refused=("move its 2 pictures",)
    ),
    Case("an archive", write("a.zip"), refused=("is an archive; unpack it",), root="a.zip"),
    Case("a tar.gz", write("a.tar.gz"), refused=("is an archive; unpack it",), root="a.tar.gz"),
    Case("a folder with an archive", write("a.tgz"), refused=("unpack 'a.tgz'",)),
    Case("arrays as a folder", arrays(), refused=("use dataset=arrays",), root="mine.npz"),
    Case("a picture as root", put("0.png"), refused=("is a file",), root="0.png"),
    Case(
        "a link out of the folder",
        then(put("out.png"), lambda f: classes(f / "in", "ant", "bee"), link("in/ant/9.png", "out.png")),
        refused=("links to",),
        root="in",
    ),
    Case(
        "a class linked from outside",
        then(two(), lambda f: classes(f / "in", "ant", "bee"), link("in/cow", "ant")),
        refused=("links to",),
        root="in",
    ),
    Case("a class that is another", then(two(), link("cow", "ant")), refused=("/ant and", "/cow are one folder")),
    Case("a class that is lost", then(two(), link("cow", "none")), refused=("/cow links to", "/none, which is not")),
    Case("a class that is itself", then(two(), link("cow", "cow")), refused=("/cow links to",)),
    Case(
        "a test set that is the training set",
        then(pair("train"), link("test", "train")),
        refused=("/test and", "/train are one folder"),
    ),
    Case("a test set that is lost", then(pair("train"), link("test", "none")), refused=("/test links to",)),
    Case(
        "a class of the test set that is of the training set",
        then(pair("train", "test"), lambda f: shutil.rmtree(f / "test" / "bee"), link("test/bee", "train/bee")),
        refused=("/train/bee and", "/test/bee are one folder"),
    ),
    Case("a linked sub-folder", then(two(), link("ant/more", "bee")), refused=("links to a folder",)),
    Case("a link to nothing", then(two(), link("ant/9.png", "none.png")), refused=("cannot read",)),
    Case("a picture that is itself", then(two(), link("ant/9.png", "ant/9.png")), refused=("cannot read",)),
    Case("a folder named as a picture", then(two(), make("ant/9.png")), refused=("named as a picture",)),
    Case("text named as a picture", then(two(), write("ant/9.png")), refused=("cannot read", "9.png")),
    Case("PostScript named as a picture", then(two(), write("ant/9.jpg", "%!PS-Adobe-3.0\n")), refused=("9.jpg",)),
    Case(
        "a cut picture",
        then(two(), lambda f: text(f / "ant" / "9.png", (f / "ant" / "0.png").read_bytes()[:50])),
        refused=("cannot read", "9.png"),
    ),
    Case("floats in a TIFF", mode(deep(0.5, np.float32, ".tif")), refused=("fractions",), published=True),
    Case("32 bits in a TIFF", mode(deep(7, np.int32, ".tif")), refused=("32 bits",)),
    Case(
        "16 bits with a transparent grey",
        mode(deep_transparent),
        refused=("16 bits with a transparent",),
    ),
    Case(
        "3x1000 pixels, crop",
        mode(lambda path: picture(path.with_suffix(".png"), size=(3, 1000))),
        refused=("use dataset.fit=squash",),
    ),
    Case(
        "labels of several classes",
        arrays(train_labels=np.zeros((4, 14), int)),
        refused=("several labels",),
        root="mine.npz",
        dataset="arrays",
        published=True,
    ),
    Case(
        "volumes",
        arrays(train_images=np.zeros((4, 8, 8, 8), np.uint8)),
        refused=("neither 1 nor 3 channels",),
        root="mine.npz",
        dataset="arrays",
        published=True,
    ),
]


TALLY = {"read right": 0, "refused": 0, "read wrong": 0}


def read(case, folder):
    settings = case.settings if case.dataset != "folder" else {"size": 8, **case.settings}
    return DATASETS[case.dataset](folder / case.root if case.root else folder, False, **settings).decoded()


def wrong(case, source):
    """What differs from the table, in words."""
    parts = [source.train, source.test, *([source.validation] if source.validation else [])]
    counts = {
        name: tuple(int((part.labels == label).sum()) for part in parts) for label, name in enumerate(source.classes)
    }
    if counts != case.counts or list(counts) != list(case.counts):
        yield f"counts {counts}"
    colours = dict(zip(source.classes, (ANT, BEE, COW, DOG), strict=False)) if case.dataset != "cifar10" else {}
    expected = {name: {MIDDLE: colour} for name, colour in colours.items()} | case.pixels
    for part in parts:
        for label, name in enumerate(source.classes):
            for (row, column), colour in expected.get(name, {}).items():
                found = part.images[part.labels == label][:, :, row, column].int()
                if (found - found.new_tensor(colour)).abs().max() > case.near:
                    yield f"{name} at {row}, {column}: {found.tolist()}"
    for words in case.says:
        if words not in (source.understood or ""):
            yield f"{words!r} not in {source.understood}"


@pytest.mark.parametrize("case", [*LAYOUTS, *FILES], ids=lambda case: case.name)
def test_a_layout_is_read_as_the_table_says(tmp_path, case):
    case.build(tmp_path)
    faults = list(wrong(case, read(case, tmp_path)))
    TALLY["read wrong" if faults else "read right"] += 1
    assert not faults


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_layout_that_could_mean_something_else_is_refused(tmp_path, case):
    case.build(tmp_path)
    TALLY["read wrong"] += 1
    message = refused("catalogue", case.name, lambda: read(case, tmp_path), *case.refused)
    assert message.startswith("data.root=")
    TALLY["read wrong"] -= 1
    TALLY["refused"] += 1


def test_the_catalogue_is_long_and_none_of_it_is_read_wrong():
    cases = [*LAYOUTS, *FILES, *REFUSED]
    assert len({case.name for case in cases}) == len(cases) >= 50
    assert sum(case.published for case in cases) >= 10
    if sum(TALLY.values()) == len(cases):  # the whole file ran
        print(", ".join(f"{what}: {count}" for what, count in TALLY.items()))
        assert {"read right": len(LAYOUTS) + len(FILES), "refused": len(REFUSED), "read wrong": 0} == TALLY
