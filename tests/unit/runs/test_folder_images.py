"""What is made from a folder of images goes by all its pixels and labels, and by every setting that changes them."""

import hashlib
import json
import shutil

import pytest
import torch
from PIL import Image

from cmidd.analysis.grouping import cells
from cmidd.analysis.results import read_results
from cmidd.cli.compose import compose
from cmidd.runs.build import load_data, make_context
from cmidd.runs.teaching import context_of_subject
from cmidd.utils import cache, files
from cmidd.utils.errors import SettingError
from tests.support.evaluations import subject
from tests.support.runs import TINY, TINY_METHOD, run_here, run_until

WORDS = ["dataset=folder", "dataset.size=8", "ipc=2", "method.batch_real=2"]
CPU = torch.device("cpu")


def pictures(root, shift=0):
    """Three grey pictures, square and equal in all channels, of each of two classes in ``train`` and ``test``."""
    for part in ("train", "test"):
        for label, name in enumerate(("ant", "bee")):
            (root / part / name).mkdir(parents=True)
            for number in range(3):
                random = torch.Generator().manual_seed(100 * label + 10 * number + (part == "test") + shift)
                pixels = torch.randint(256, (8, 8), generator=random, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(root / part / name / f"{label}{number}.png")
    return root


@pytest.fixture
def root(tmp_path):
    return pictures(tmp_path / "flowers")


def words(root, *more):
    return [*TINY, *TINY_METHOD["dm"], *WORDS, f"data.root={root}", *more]


def key(root, *more):
    return make_context(compose(words(root, *more)), CPU).data_key


def swapped(root, part):
    """The folders of two classes with each other's name."""
    for old, new in (("ant", "x"), ("bee", "ant"), ("x", "bee")):
        (root / part / old).rename(root / part / new)


def test_baselines_are_measured_anew_where_only_the_test_folders_change(tmp_path, root):
    given = (*WORDS, f"data.root={root}", "evaluation.baselines=[random]")
    kept = tmp_path / "buffers" / "baselines"
    run_here(tmp_path / "results", "dm", *given)
    (first,) = kept.glob("*.json")
    swapped(root, "test")
    folder = run_here(tmp_path / "swapped", "dm", *given)
    (second,) = set(kept.glob("*.json")) - {first}
    record = json.loads((folder / "result.json").read_text())
    assert record["baselines"]["random"] == files.read_json(second)["accuracies"]


def test_a_picture_that_changes_its_class_and_nothing_else_changes_the_key(root):
    before = key(root)
    shutil.move(root / "train" / "ant" / "02.png", root / "train" / "bee")  # Still between the same two.
    after = key(root)
    assert {**before, "content": ""} == {**after, "content": ""}
    assert before != after


@pytest.mark.parametrize(
    "change",
    ["zca=true", "size=16", "fit=squash", "channels=1", "fill=repeat", "statistics=cifar10", "validation=0.34"],
)
def test_every_setting_of_the_same_files_has_a_key_of_its_own(root, change):
    assert cache.fingerprint(key(root, f"dataset.{change}")) != cache.fingerprint(key(root))


def test_the_key_of_whitened_images_does_not_hang_on_how_the_whitening_rounds(root):
    plain, whitened = key(root), key(root, "dataset.zca=true")
    assert whitened == {**plain, "zca": True}


def test_a_run_records_the_folder_and_its_content(tmp_path, root):
    folder = run_here(tmp_path / "results", "dm", *WORDS, f"data.root={root}")
    record = json.loads((folder / "result.json").read_text())
    content = load_data(compose(words(root)), CPU).content
    assert record["read_from"] == "flowers"
    assert record["settings"]["data"] == {"root": str(root), "content": content}


def seeds_in_cells(results):
    (cell,) = cells(read_results([results])).values()
    return [result.seed for result in cell.results], [other.why.partition("=")[0] for other in cell.others]


def test_runs_on_different_images_of_one_folder_are_no_cell(tmp_path, root):
    given, results = (*WORDS, f"data.root={root}"), tmp_path / "results"
    run_here(results, "dm", *given)
    run_here(results, "dm", *given, "seed=1")
    assert seeds_in_cells(results) == ([0, 1], [])
    swapped(root, "test")
    run_here(results, "dm", *given, "seed=2")
    assert seeds_in_cells(results) == ([0, 1], ["data.content"])


def as_before(folder, root, *more):
    """What an earlier version would have written: a hash of the images to train on as networks see them, beside."""
    images = load_data(compose(words(root, *more)), CPU).train.images
    files.write_json(folder / "content.json", hashlib.sha256(images.numpy().tobytes()).hexdigest())
    for name in ("settings.json", "result.json"):
        if (folder / name).exists():
            content = files.read_json(folder / name)
            del content.get("settings", content)["data"]["content"]
            files.write_json(folder / name, content)


@pytest.mark.parametrize("more", [(), ("dataset.zca=true",)], ids=["normalised", "whitened"])
def test_a_run_that_an_earlier_version_began_goes_on_to_the_same_set(tmp_path, root, more, caplog):
    given, results = (*WORDS, f"data.root={root}", *more), tmp_path / "results"
    whole = run_here(tmp_path / "whole", "dm", *given)
    run_until(2, "checkpoint.safetensors", results, "dm", *given, "checkpoint_seconds=0")
    as_before(folder := results / whole.relative_to(tmp_path / "whole"), root, *more)
    caplog.set_level("INFO")
    assert run_here(results, "dm", *given) == folder
    assert caplog.text.count("was begun by an earlier version") == 1
    assert files.read_json(folder / "settings.json") == files.read_json(whole / "settings.json")
    assert (folder / "synthetic.safetensors").read_bytes() == (whole / "synthetic.safetensors").read_bytes()


@pytest.mark.parametrize("more", [(), ("dataset.zca=true",)], ids=["normalised", "whitened"])
def test_one_whose_images_have_changed_since_does_not(tmp_path, root, more):
    given, results = (*WORDS, f"data.root={root}", *more), tmp_path / "results"
    run_until(2, "checkpoint.safetensors", results, "dm", *given, "checkpoint_seconds=0")
    as_before(next(results.rglob("settings.json")).parent, root, *more)
    shutil.rmtree(root)
    pictures(root, shift=1)
    with pytest.raises(SettingError, match=r"images have changed since .*OMP_NUM" if more else r"changed [^,]* began;"):
        run_here(results, "dm", *given)


def test_a_run_whose_test_images_have_changed_does_not_go_on(tmp_path, root):
    given, results = (*WORDS, f"data.root={root}"), tmp_path / "results"
    run_until(2, "checkpoint.safetensors", results, "dm", *given, "checkpoint_seconds=0")
    swapped(root, "test")
    with pytest.raises(SettingError, match="images have changed"):
        run_here(results, "dm", *given)


def test_a_finished_run_of_before_counts_beside_those_of_now_and_with_no_two_kinds(tmp_path, root):
    given, results = (*WORDS, f"data.root={root}"), tmp_path / "results"
    as_before(run_here(results, "dm", *given), root)
    run_here(results, "dm", *given, "seed=1")
    assert seeds_in_cells(results) == ([0, 1], [])
    swapped(root, "test")
    run_here(results, "dm", *given, "seed=2")
    assert seeds_in_cells(results) == ([0, 1], ["data.content"])


def key_of_evaluation(path, *typed):
    asked = subject(str(path), *typed)
    return context_of_subject(asked.settings, asked.subject, asked.subject.network).data_key


@pytest.mark.parametrize("more", [(), ("dataset.zca=true",)], ids=["normalised", "whitened"])
def test_an_evaluation_shares_what_was_kept_for_images_that_are_normalised_alike_and_nothing_else(tmp_path, root, more):
    own, other = f"data.root={root}", f"data.root={pictures(tmp_path / 'others', shift=1)}"
    path = run_here(tmp_path / "results", "dm", *WORDS, own, *more) / "synthetic.safetensors"
    held_out = run_here(tmp_path / "tuned", "dm", *WORDS, own, *more, "dataset.validation=0.34", "ipc=1")
    assert key_of_evaluation(path, own) == key(root, *more)
    there = key(tmp_path / "others", *more)
    assert key_of_evaluation(path, other) == {**there, "preprocessing": key_of_evaluation(path, other)["preprocessing"]}
    tuned = key_of_evaluation(held_out / "synthetic.safetensors", own)
    assert tuned["content"] == key(root, *more)["content"]
    assert tuned["preprocessing"] != key_of_evaluation(path, other)["preprocessing"]
