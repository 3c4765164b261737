"""Every door through which somebody else's file or config comes in, each tried with a malicious one."""

import gzip
import json
import os
import pickle
import re
import struct
import warnings
import zlib

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from cmidd.analysis.grouping import cells
from cmidd.analysis.report.page import page
from cmidd.analysis.results import read_results
from cmidd.analysis.tables.latex import latex
from cmidd.analysis.tables.table import make_table, read_layout
from cmidd.analysis.tables.text import as_csv, markdown
from cmidd.buffers import teacher_files
from cmidd.data import sources
from cmidd.data.load import load_dataset
from cmidd.synthetic import foreign, pictures
from cmidd.synthetic.load import load_synthetic
from cmidd.utils import files, tensor_files
from cmidd.utils.text import escape_markdown
from tests.support.data_files import WRITERS, images
from tests.support.figure_layout import LAYOUT
from tests.support.records import record
from tests.support.refusals import ROOT, mostly_heavy, refused, script, script_refused


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    """What a payload would make; it must not be there at the end."""
    path = tmp_path / "marker"
    yield path
    assert not path.exists()


def test_the_payload_works_where_it_is_let_in(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "made")))
    assert (tmp_path / "made").is_dir()


# --- pickles


@pytest.mark.parametrize("name", ["images_x.pt", "labels", "data_x.pt", "res_DC_x.pt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_foreign_tensors_run_nothing(tmp_path, marker, name, zipped):
    first = tmp_path / ("images_x.pt" if name == "labels" else name)
    torch.save(torch.zeros(2, 1, 8, 8), first)
    bad = tmp_path / "labels_x.pt" if name == "labels" else first
    torch.save([Payload(marker), torch.zeros(1)], bad, _use_new_zipfile_serialization=zipped)
    refused("door: pickle", (name, zipped), lambda: foreign.read(first, ("0", "1"), 1), tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_foreign_teachers_run_nothing(tmp_path, marker, zipped):
    bad = tmp_path / "teacher.pth"
    torch.save({"classifier.weight": Payload(marker)}, bad, _use_new_zipfile_serialization=zipped)
    refused("door: pickle", ("teacher", zipped), lambda: teacher_files.find(str(tmp_path), None), bad)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_unpickled_only_with_its_published_checksum(tmp_path, marker, name):
    WRITERS[name](tmp_path, name)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        path.write_bytes(pickle.dumps(Payload(marker)))
    refused("door: pickle", name, lambda: load_dataset(name, root=tmp_path, download=False), f"dataset={name}")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "svhn"])
def test_data_sets_without_pickles_run_nothing(tmp_path, marker, monkeypatch, name):
    import torchvision

    monkeypatch.setattr(torchvision.datasets.utils, "check_md5", lambda *_, **__: True)
    WRITERS[name](tmp_path, name)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        path.write_bytes(pickle.dumps(Payload(marker)))
    refused("door: pickle", name, lambda: load_dataset(name, root=tmp_path, download=False), f"dataset={name}")


def test_our_own_files_are_no_pickles(tmp_path, marker):
    for name in ("synthetic.safetensors", "checkpoint.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Payload(marker)))
        refused("door: pickle", name, lambda path=tmp_path / name: tensor_files.read_tensors(path), name)
    (tmp_path / "result.json").write_bytes(pickle.dumps(Payload(marker)))
    refused("door: pickle", "result.json", lambda: files.read_json(tmp_path / "result.json"), "result.json")
    for sign in ("0.png", "1.jpg"):
        folder = images(tmp_path / sign)
        (folder / "ant" / sign).write_bytes(pickle.dumps(Payload(marker)))
        refused("door: pickle", sign, lambda folder=folder: load_dataset("folder", root=folder), sign)


# --- what a config may name

EVIL = {
    "a word": ["+evil._target_=os.mkdir"],
    "in a setting": ["+network._target_=os.mkdir"],
    "in a plug-in": ["method=dm", "regularizer=iid", "+iid._target_=os.mkdir"],
    "a callback": ["+hydra.callbacks.x={_target_: os.mkdir, path: MARKER}"],
    "a callback Hydra does not block": ["+hydra.callbacks.x={_target_: builtins.open, file: MARKER, mode: w}"],
    "our callback's place": ["hydra.callbacks.sweep_journal._target_=os.mkdir"],
    "a launcher": ["hydra.launcher._target_=os.mkdir", "-m"],
    "inside a launcher": ["+hydra.launcher.x={_target_: os.mkdir, path: MARKER}", "-m"],
    "a sweeper": ["hydra.sweeper._target_=os.mkdir", "-m"],
    "a search space": ["+sweep=tune_cmi", "hydra.sweeper.custom_search_space=os.mkdir"],
    "a storage": ["+sweep=tune_cmi", "hydra.sweeper.storage={_target_: os.mkdir, path: MARKER}"],
    "a handler": ["hydra.job_logging.handlers.console.class=os.mkdir"],
    "a log file over another": ["hydra/job_logging=default"],
    "a factory": ["+hydra.job_logging.formatters.x={(): os.mkdir, path: MARKER}"],
    "a stream": ["hydra.hydra_logging.handlers.console.stream=ext://os.environ"],
    "a variable": ["+hydra.job.env_set={LD_PRELOAD: /tmp/evil.so}"],
    "a pickle": ["--experimental-rerun=MARKER.pickle"],
    "a pickle, shortened": ["--exp", "MARKER.pickle"],
    "a hidden callback": ["+evil=hidden"],
    "a callback hidden twice": ["+evil=twice"],
    "a logging factory in a file": ["+evil=logging"],
}
CONFIGS = {
    "hidden": """callbacks: '${oc.decode:"{x: {_target_: builtins.open, file: MARKER, mode: w}}"}'""",
    "twice": """callbacks: {x: '${oc.decode:"{y: \\\\${oc.decode:x\\\\}}"}'}""",
    "logging": "job_logging: {formatters: {simple: {(): builtins.open, file: MARKER, mode: w}}}",
}


@pytest.mark.parametrize("door", mostly_heavy([(door,) for door in EVIL], keep=4))
def test_a_config_imports_and_calls_nothing(tmp_path, marker, door):
    words = [word.replace("MARKER", str(marker)) for word in EVIL[door]]
    marker.with_suffix(".pickle").write_bytes(pickle.dumps(Payload(marker)))
    (tmp_path / "more" / "evil").mkdir(parents=True)
    for name, text in CONFIGS.items():
        content = f"# @package _global_\nhydra:\n  {text.replace('MARKER', str(marker))}\n"
        (tmp_path / "more" / "evil" / f"{name}.yaml").write_text(content)
    script_refused("door: config", "distill", [*words, f"--config-dir={tmp_path / 'more'}"], tmp_path)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["evaluate", "table", "compare", "figures", "report", "bench", "buffer", "teachers"])
def test_no_script_imports_what_a_word_names(tmp_path, marker, name):
    word = f"+hydra.callbacks.x={{_target_: builtins.open, file: {marker}, mode: w}}"
    script_refused("door: config", name, [word], tmp_path, "hydra.callbacks.x._target_=builtins.open")


# --- names that become files


@pytest.mark.parametrize("part", ["method", "dataset", "sampler", "schedule", "regularizers"])
@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/../../b"])
def test_kept_evidence_stays_in_its_folder(tmp_path, part, name):
    value = {name: {}} if part == "regularizers" else {"name": name}
    record(tmp_path / "results", "dm", "digits", 10, 0.0, 0, [48.0], settings={part: value})
    script_refused("door: name", "../tools/evidence", [str(tmp_path / "results")], tmp_path, "result.json")


def test_exported_pictures_stay_in_their_folder(tmp_path, synthetic_file):
    tensors, about = tensor_files.read_tensors(synthetic_file)
    about["classes"] = ["../../evil", "/etc/evil", "..", ".", "a\\b", "x" * 200, "<script>", "-rf", "~", "$HOME"]
    path = tmp_path / "s.safetensors"
    save_file(tensors, path, metadata={"about": json.dumps(about)})
    synthetic = load_synthetic(path)
    pictures.export(synthetic.pixels(), synthetic.labels, synthetic.classes, tmp_path / "out")
    made = [file for file in tmp_path.rglob("*") if file.is_file() and file != path]
    assert len(made) == 11
    assert all(file.is_relative_to(tmp_path / "out") for file in made)
    assert all(re.fullmatch(r"\d{3}_[\w-]+", file.parent.name) for file in made if file.suffix == ".png")


def test_links_do_not_lead_out_of_a_folder_of_images(tmp_path):
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    for number, (at, target) in enumerate([("ant/9.png", secret), ("cow", tmp_path / "elsewhere")]):
        folder = images(tmp_path / f"pictures{number}")
        if number == 1:
            images(tmp_path / "elsewhere", classes=("x",))
            target = target / "x"
        (folder / at).symlink_to(target)
        refused("door: link", at, lambda folder=folder: load_dataset("folder", root=folder), at, "links to")
        refused("door: link", ("set", at), lambda folder=folder: foreign.read(folder, ("ant", "bee", "cow"), 3), at)


# --- bombs


def png(width, height, scanlines=b""):
    """A PNG that announces a size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(scanlines)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(8_000, 8_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1), (0, 5)])
def test_a_picture_that_unpacks_to_too_much_is_refused(tmp_path, size):
    folder = images(tmp_path / "pictures")
    (folder / "ant" / "9.png").write_bytes(png(*size, bytes(1000)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused("door: bomb", size, lambda: load_dataset("folder", root=folder), "9.png")


def test_a_postscript_program_named_as_a_picture_is_not_run(tmp_path, marker):
    program = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n({marker}) (w) file closefile\nshowpage\n"
    folder = images(tmp_path / "pictures")
    (folder / "ant" / "9.png").write_text(program)
    refused("door: program", "eps", lambda: load_dataset("folder", root=folder), "9.png")


def test_a_gzip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "DEBIAN_FASHION_MNIST", tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    header = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28])
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header)
        for _ in range(256):
            file.write(bytes(2**20))
    import tracemalloc

    tracemalloc.start()
    refused("door: bomb", "gz", lambda: load_dataset("fashion_mnist", root=tmp_path / "none", download=False), path)
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()


# --- what is shown

NASTY = (
    "</script><script>alert(1)</script> | `x` \" ' & <img src=x onerror=alert(1)> {{data}} $x^ \\input{/etc/passwd} %"
)


def nasty_results(folder):
    """Two runs whose records say nasty things wherever they may say anything."""
    for seed, weight in enumerate((0.0, 1.0)):
        path = record(
            folder,
            *("dm", "digits", 10, weight, seed, [48.0]),
            settings={"data": {"root": NASTY}},
            differs_from_recipe={NASTY: [NASTY, NASTY]},
            evaluations={"5": [40.0], "10": [48.0]},
            baselines={NASTY: [1.0]},
            command=NASTY,
            device=NASTY,
            seconds=1.0,
            peak_memory_mib=1.0,
        )
        rows = [json.dumps({"iteration": at, "loss": 1.0, NASTY: 2.0}) for at in (1, 2)]
        path.with_name("metrics.jsonl").write_text("\n".join(rows) + "\n")
        path.with_name("synthetic.png").write_bytes(NASTY.encode())
    return read_results([folder])


def nasty_table(results):
    layout = {
        "columns": [{"dataset": "digits", "ipc": 10}],
        "groups": {NASTY: {NASTY: {"method": "dm"}, "DM+CMI": {"method": "dm", "cmi": True}}},
    }
    return make_table(*read_layout(layout), cells(results), lambda *_: 1.0)


def test_the_page_shows_records_as_text(tmp_path):
    results = nasty_results(tmp_path)
    text = page(nasty_table(results), results)
    assert text.count("<script") == page(make_table(*read_layout(LAYOUT), {}, lambda *_: 1.0), []).count("<script")
    assert "<img src=x" not in text
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', text, re.S)[1])
    assert data["runs"][0]["command"] == NASTY
    vendored = ROOT / "cmidd" / "analysis" / "report" / "vendored"
    for library in vendored.glob("*.js"):  # d3 has html() for those who call it.
        parts = text.split(library.read_text(encoding="utf-8"))
        assert len(parts) == 2
        text = "".join(parts)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\.html\(", text)


def test_tables_show_records_as_text(tmp_path):
    made = nasty_table(nasty_results(tmp_path))
    text = markdown(made)
    assert "<script>" not in text
    assert "<img" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {3}
    assert "`x`" not in text
    tex = latex(made)
    assert "\\input{" not in tex
    assert all(line.count("&") - line.count("\\&") == 1 for line in tex.splitlines() if "48.0" in line)
    assert as_csv(made).count("\n") >= 3


def test_plain_text_keeps_ordinary_words_and_opens_nothing():
    assert escape_markdown("method.lr_img=0.1 instead of 1") == "method.lr_img=0.1 instead of 1"
    assert not set(escape_markdown(NASTY)) & set("<>|`")


def test_the_evaluation_of_a_set_with_a_nasty_name_is_a_table_all_the_same(tmp_path, synthetic_file):
    path = tmp_path / "a|b`<script>x<`.safetensors"
    tensors, about = tensor_files.read_tensors(synthetic_file)
    about |= {"data": {"name": "digits"}, "network": {"name": "mlp"}, "training": {"epochs": 1}}
    save_file(tensors, path, metadata={"about": json.dumps(about)})
    code, _, err = script("evaluate", f"synthetic='{path}'", "network=mlp", "repeats=1", cwd=tmp_path)
    assert code == 0, err
    text = next(tmp_path.glob("*.md")).read_text()
    assert "<script>" not in text
    assert "`" not in text


def test_class_names_with_signs_of_formulas_can_be_drawn(tmp_path, synthetic_file):
    from cmidd.analysis.figures.embeddings import embeddings
    from cmidd.analysis.figures.images import images
    from cmidd.analysis.figures.style import save

    tensors, about = tensor_files.read_tensors(synthetic_file)
    about["classes"] = ["$x^", "$$", "\\frac{", "a_b", "<b>", "é", "日本", "%", "#", "{}"]
    path = tmp_path / "s.safetensors"
    save_file(tensors, path, metadata={"about": json.dumps(about)})
    synthetic = load_synthetic(path)
    save(images({"$x^": synthetic}), "$y_", tmp_path / "images")
    real = load_dataset("digits").class_batches(2, torch.Generator())
    from cmidd.networks import build_network

    network = build_network("mlp", (1, 8, 8), 10, torch.Generator())
    save(embeddings({"DM $x^ + CMI": synthetic}, real, network), "$$", tmp_path / "embeddings")
