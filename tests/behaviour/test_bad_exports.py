"""An exported folder that is damaged or was edited by hand is refused in one line that names the file and the key."""

import csv
import json
import shutil

import pytest
import torch
from PIL import Image

from cmidd.data.load import load_dataset
from cmidd.synthetic.exported import export
from cmidd.synthetic.load import load_synthetic
from cmidd.synthetic.places import CARD
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams
from tests.support.refusals import NOT_JSON, TRIED, changed, damage, edited, put, refused, script_refused, without

GOOD = {"data": {"name": "digits"}, "network": {"name": "mlp"}, "training": {"epochs": 1}, "method": "dm", "ipc": 1}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """One folder of normalised images in two stages, and one of whitened images."""
    root = tmp_path_factory.mktemp("exported")
    for name in ("plain", "zca"):
        synthetic = SyntheticSet.from_real(load_dataset("digits", zca=name == "zca"), 1, Streams(0)("init"))
        synthetic.about, synthetic.syn_lr = dict(GOOD), torch.tensor(0.02)
        if name == "plain":
            synthetic.begin_stage(synthetic.leaf * 0.5, synthetic.leaf_labels)
        export(synthetic, root / name)
    return root


def change_card(folder, name, value):
    path = folder / CARD
    path.write_text(json.dumps(changed(json.loads(path.read_text()), name, value)))


EDITED = [
    *(("format", value) for value in (2, "1", None)),
    *(("classes", value) for value in (5, [], [1] * 10, ["a\nb", *"123456789"])),
    *(("image_shape", value) for value in ([8, 8], [1, 8, 9], [1, 8, 0], "1x8x8", [1, 8, 10**9])),
    *(("preprocessing", value) for value in (None, [], {})),
    *(("preprocessing.zca", value) for value in ("no", 1, None)),
    *(("preprocessing.mean", value) for value in ([], [0, 0], "x", [[0]])),
    *(("preprocessing.std", value) for value in ([0], [-1], [], ["1"])),
    *(("formation", value) for value in (5, {"factor": 0}, {"stored_as": "paper"}, {"factr": 2})),
    *(("syn_lr", value) for value in (0, -1, "0.1", [0.1], True)),
    *(("earlier_stages", value) for value in (5, [5], [{}], [{"images": 0}], [{"images": 20}], [{"images": 10.5}])),
    ("earlier_stages", [{"images": 10, "syn_lr": -1}]),
    *(("seed", value) for value in (-1, 1.5, "0")),
    *(("ipc", value) for value in (0, "1")),
    *(("method", value) for value in (5, "../dm", "")),
    *(("cmi", value) for value in (-1, "x", [])),
    *((part, value) for part in ("data", "network", "training") for value in (5, "x", [])),
    ("optimizer", 5),
]


@pytest.mark.parametrize(("name", "value"), EDITED, ids=str)
def test_an_edited_key_is_named(exported, tmp_path, name, value):
    shutil.copytree(exported / "plain", tmp_path / "out")
    change_card(tmp_path / "out", name, value)
    place = tmp_path / "out" / CARD if name != "image_shape" else tmp_path / "out"
    refused("exported", (name, value), lambda: load_synthetic(tmp_path / "out"), place, name.split(".")[0])


MISTYPED = {
    "metod": "method",
    "clases": "classes",
    "preprocessing.men": "preprocessing.mean",
    "formation.factr": "formation.factor",
    "syn_lrs": "syn_lr",
}


@pytest.mark.parametrize("name", MISTYPED)
def test_an_unknown_key_is_refused_with_the_near_one(exported, tmp_path, name):
    shutil.copytree(exported / "plain", tmp_path / "out")
    change_card(tmp_path / "out", name, 1)
    hint = f"{CARD}: {name}: unknown setting; did you mean {MISTYPED[name]}?"
    refused("exported", name, lambda: load_synthetic(tmp_path / "out"), hint)


@pytest.mark.parametrize("flaw", NOT_JSON)
def test_what_is_no_json_is_refused(exported, tmp_path, flaw):
    shutil.copytree(exported / "plain", tmp_path / "out")
    damage(tmp_path / "out" / CARD, NOT_JSON[flaw])
    refused("exported", flaw, lambda: load_synthetic(tmp_path / "out"), tmp_path / "out" / CARD)


def lines(folder, change):
    path = folder / "labels.csv"
    rows = list(csv.reader(path.read_text().splitlines()))
    change(rows)
    path.write_text("".join(f"{','.join(row)}\n" for row in rows))


def picture(folder):
    return min(folder.glob("*/*.png"))


FILES = {
    "fewer classes": lambda f: change_card(f, "classes", ["a", "b"]),
    "three channels": lambda f: change_card(f, "image_shape", [3, 8, 8]),
    "an infinite mean": lambda f: damage(f / CARD, (f / CARD).read_text().replace('"mean": [', '"mean": [1e999, ')),
    "no labels.csv": lambda f: (f / "labels.csv").unlink(),
    "an empty labels.csv": lambda f: damage(f / "labels.csv", ""),
    "labels.csv as latin-1": lambda f: damage(f / "labels.csv", b"file,label,class\n\xe9"),
    "no head": lambda f: lines(f, lambda rows: rows.pop(0)),
    "a head alone": lambda f: damage(f / "labels.csv", "file,label,class\n"),
    "a row of two": lambda f: lines(f, lambda rows: rows[3].pop()),
    "a label that is none": lambda f: lines(f, lambda rows: rows[3].__setitem__(1, "x")),
    "label 10": lambda f: lines(f, lambda rows: rows[3].__setitem__(1, "10")),
    "a label of another class": lambda f: lines(f, lambda rows: rows[3].__setitem__(1, "9")),
    "a row too few": lambda f: lines(f, lambda rows: rows.pop()),
    "a row twice": lambda f: lines(f, lambda rows: rows.append(rows[1])),
    "a file outside": lambda f: lines(f, lambda rows: rows[3].__setitem__(0, "../../secret.png")),
    "a zero byte": lambda f: lines(f, lambda rows: rows[3].__setitem__(0, "a\0b")),
    "a picture too few": lambda f: picture(f).unlink(),
    "a picture too many": lambda f: Image.new("L", (8, 8)).save(picture(f).with_name("more.png")),
    "a damaged picture": lambda f: damage(picture(f), "no"),
    "a picture of another size": lambda f: Image.new("L", (9, 8)).save(picture(f)),
}
WHITENING = {
    "no whitening": lambda f: (f / "zca.safetensors").unlink(),
    "a cut whitening": lambda f: damage(f / "zca.safetensors", b"\x08"),
    "half a whitening": lambda f: edited(without("zca_eigenvectors"))(f / "zca.safetensors"),
    "a whitening of others": lambda f: edited(put("zca_mean", torch.zeros(9)))(f / "zca.safetensors"),
    "a whitening that is not finite": lambda f: edited(put("zca_mean", torch.full((64,), torch.nan)))(
        f / "zca.safetensors"
    ),
}


@pytest.mark.parametrize("flaw", [*FILES, *WHITENING])
def test_a_flaw_beside_the_json_is_named(exported, tmp_path, flaw):
    folder = tmp_path / "out"
    shutil.copytree(exported / ("plain" if flaw in FILES else "zca"), folder)
    (FILES | WHITENING)[flaw](folder)
    refused("exported", flaw, lambda: load_synthetic(folder), folder)


SCRIPT = [
    (["synthetic=out", "method=dm"], "method=dm: out carries its own"),
    (["synthetic=out", "dataset=mnist"], "dataset=mnist: out carries its own"),
    (["synthetic=out", "zca=true"], "zca=True: out carries its own"),
    (["synthetic=bare"], "bare/synthetic.json: written before sets said"),
    (["synthetic=training"], "training/synthetic.json: training.epoch: unknown setting; did you mean training.epochs?"),
    (["synthetic=network"], "network/synthetic.json: network=nosuch"),
    (["synthetic=begun"], "begun: an unfinished run, at iteration 0"),
]


def test_the_scripts_refuse_them_too_and_leave_nothing(exported, tmp_path):
    for name, key, value in (
        ("out", "ipc", 1),
        ("bare", "data", None),
        ("training", "training", {"epoch": 1}),
        ("network", "network.name", "nosuch"),
    ):
        shutil.copytree(exported / "plain", tmp_path / name)
        change_card(tmp_path / name, key, value)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "settings.json").write_text("{}")
    for words, message in SCRIPT:
        script_refused("evaluate.py", "evaluate", words, tmp_path, message)
    for words, message in ((["begun", "new"], "unfinished run"), (["out", "bare"], "exists and is not empty")):
        script_refused("export.py", "export", words, tmp_path, message)


def test_enough_distinct_flaws_were_tried():
    if len(TRIED["evaluate.py"]) == len(SCRIPT):  # the whole file ran
        counts = {kind: len(tried) for kind, tried in TRIED.items()}
        print(counts)
        assert counts["exported"] >= 90
