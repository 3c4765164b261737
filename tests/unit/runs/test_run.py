"""Whole runs of the command line on the digits, made tiny."""

import json
import os
import shutil

import pytest
import torch
from PIL import Image

from cmidd import load_synthetic
from cmidd.utils import tensor_files
from tests.support.forked import as_main, forked, run_script
from tests.support.runs import ROOT, TINY, TINY_METHOD, distill, result


@pytest.fixture(scope="module")
def buffers(tmp_path_factory):
    return f"buffers_root={tmp_path_factory.mktemp('buffers')}"


@pytest.mark.parametrize("method", ["dm", pytest.param("mtt", marks=pytest.mark.heavy)])
def test_every_spelling_of_the_weight_works_and_zero_is_the_baseline_bit_for_bit(tmp_path, method, buffers):
    for number, words in enumerate([["+cmi.lambda=0.1"], ["cmi.lambda=0.1"], [], ["cmi.lambda=0"]]):
        done = distill(tmp_path, *TINY_METHOD[method], *words, buffers, f"results_root=results/{number}")
        assert done.returncode == 0, done.stderr
        assert "synthetic.safetensors" in done.stdout
    images = [
        load_synthetic(next((tmp_path / "results" / str(number)).rglob("synthetic.safetensors"))).images
        for number in range(4)
    ]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[2], images[3])
    assert not torch.equal(images[0], images[2])


def distill_until_two(*words):
    write = tensor_files.write_tensors

    def dying(path, tensors, about):
        write(path, tensors, about)
        if about.get("iteration") == 2:
            os._exit(9)

    tensor_files.write_tensors = dying
    as_main(ROOT / "scripts" / "distill.py", *words)


# The others are resumed with all that fits them in test_plugins.py.
BY_ITSELF = [pytest.param(name, marks=pytest.mark.heavy) for name in ("dm", "dsa", "idc", "idm", "mtt")]


@pytest.mark.parametrize("method", ["dc", "datm", "ncfm", *BY_ITSELF])
def test_a_resumed_run_gives_the_bits_of_an_undisturbed_one(tmp_path, method, buffers):
    words = [*TINY_METHOD[method], "+cmi.lambda=1", "evaluation.interval=2", "evaluation.baselines=[]", buffers]
    assert distill(tmp_path, *words).returncode == 0
    whole = tmp_path / "whole"
    shutil.move(tmp_path / "results", whole)
    # Stop after the checkpoint of iteration 2, as a kill would: the checkpoint is there, the rest is not.
    assert forked(distill_until_two, *TINY, *words, cwd=tmp_path).returncode == 9
    resumed = distill(tmp_path, *words)
    assert "resuming at iteration 2" in resumed.stdout
    folder = result(tmp_path, method, "1")
    other = whole / folder.relative_to(tmp_path / "results")
    (ours, labels), (theirs, others) = (
        (each.images, each.soft_labels and each.soft_labels.values)
        for each in (load_synthetic(f / "synthetic.safetensors") for f in (folder, other))
    )
    assert torch.equal(ours, theirs)
    assert (labels is None) == (method != "datm")
    assert labels is None or torch.equal(labels, others)
    records = [json.loads((f / "result.json").read_text()) for f in (folder, other)]
    assert records[0]["evaluations"] == records[1]["evaluations"]


def distill_until_memory_runs_out(*words):
    write = tensor_files.write_tensors

    def failing(path, tensors, about):
        write(path, tensors, about)
        if about.get("iteration") == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total of 8 GiB")

    tensor_files.write_tensors = failing
    as_main(ROOT / "scripts" / "distill.py", *words)


def test_out_of_memory_is_a_line_with_the_settings_that_lower_it_and_the_checkpoint_is_kept(tmp_path, buffers):
    words = [*TINY_METHOD["dm"], "evaluation.interval=2", "evaluation.baselines=[]", buffers]
    ended = forked(distill_until_memory_runs_out, *TINY, *words, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        "error: device=cuda: out of memory (2.50 GiB more were asked for); lower one of method.batch_real=128, "
        "ipc=10, or give engine.precision=bf16, with overwrite=true or another results_root; what a checkpoint holds "
        "is kept, and with more memory the same command goes on from there"
    )
    assert "Traceback" not in ended.stderr
    assert "resuming at iteration 2" in distill(tmp_path, *words).stdout


def test_a_finished_run_is_skipped_kept_on_overwrite_and_guarded_against_other_settings(tmp_path, buffers):
    words = [*TINY_METHOD["dm"], buffers]
    assert distill(tmp_path, *words).returncode == 0
    folder = result(tmp_path, "dm", "0")
    first = (folder / "synthetic.safetensors").stat().st_mtime_ns
    assert "skipping" in distill(tmp_path, *words).stdout
    assert (folder / "synthetic.safetensors").stat().st_mtime_ns == first
    changed = distill(tmp_path, *words, "method.lr_img=3")
    assert changed.returncode == 2
    assert "method.lr_img=3" in changed.stderr
    assert (folder / "synthetic.safetensors").stat().st_mtime_ns == first
    assert distill(tmp_path, *words, "method.lr_img=3", "overwrite=true").returncode == 0
    assert (folder.with_name("seed0.replaced1") / "synthetic.safetensors").stat().st_mtime_ns == first


def test_a_sweep_over_the_weight(tmp_path, buffers):
    done = distill(tmp_path, *TINY_METHOD["dm"], "evaluation.baselines=[]", buffers, "cmi.lambda=0,0.1", "-m")
    assert done.returncode == 0, done.stderr
    assert (result(tmp_path, "dm", "0") / "DONE").exists()
    assert (result(tmp_path, "dm", "0.1") / "DONE").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["+cmi.lamda=0.1"], "cmi.lamda: unknown setting; did you mean cmi.lambda?"),
        (["cmi.lambda=-1"], "cmi.lambda=-1: expected a number >= 0"),
        (["cmi.lambda=abc"], "cmi.lambda=abc: expected a number >= 0"),
        (["cmi=paper"], "cmi=paper: no weight is published for method=mtt dataset=digits ipc=10"),
        (["method=nosuch"], "method=nosuch: unknown; choose one of datm, dc, dm, dsa, idc, idm, mtt, ncfm"),
        (["dataset=nosuch"], "dataset=nosuch: unknown; choose one of arrays, cifar10, cifar100"),
        (["ipc=500"], "ipc=500: class"),
        (["ipc=0"], "ipc=0: Input should be greater than 0"),
        (["method.lr_img=-1"], "method.lr_img=-1: Input should be greater than 0"),
        (["dataset=cifar10", "data.download=false"], "dataset=cifar10: looked for cifar-10-batches-py/ in"),
    ],
)
def test_bad_input_is_one_line_before_any_work(tmp_path, words, message):
    done = distill(tmp_path, *words, tiny=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "buffers").exists()
    assert not list(tmp_path.rglob("settings.json"))


def test_wandb_offline_gets_metrics_and_keeps_its_files_in_the_run(tmp_path, buffers):
    done = distill(tmp_path, *TINY_METHOD["dm"], "evaluation.baselines=[]", "wandb.mode=offline", buffers)
    assert done.returncode == 0, done.stderr
    assert list(result(tmp_path, "dm", "0").glob("wandb/offline-run-*/*.wandb"))


def test_one_image_per_class_with_cmi_warns_and_equals_the_baseline(tmp_path, buffers):
    for words in ([], ["cmi.lambda=10"]):
        done = distill(tmp_path, *TINY_METHOD["dm"], "ipc=1", "evaluation.baselines=[]", buffers, *words)
        assert done.returncode == 0, done.stderr
    assert "cmi is zero at one image per class" in done.stdout
    runs = [tmp_path / "results" / "digits" / "dm" / "ipc1" / f"cmi{w}" / "seed0" for w in (0, 10)]
    images = [load_synthetic(run / "synthetic.safetensors").images for run in runs]
    torch.testing.assert_close(*images, rtol=1e-4, atol=1e-5)


def test_a_folder_of_images_is_distilled_and_two_folders_do_not_mix(tmp_path, buffers):
    generator = torch.Generator().manual_seed(0)
    for name in ("first", "second"):
        for label in ("ant", "bee"):
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for number in range(8):
                pixels = torch.randint(256, (12, 14, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    for name in ("first", "second"):
        done = distill(
            tmp_path,
            *("method=dm", "dataset=folder", f"data.root={name}", "dataset.size=16", "ipc=2", "method.iterations=2"),
            *("method.batch_real=4", "evaluation.baselines=[]", buffers),
        )
        assert done.returncode == 0, done.stderr
        run = tmp_path / "results" / f"folder_{name}" / "dm" / "ipc2" / "cmi0" / "seed0"
        assert load_synthetic(run / "synthetic.safetensors").classes == ("ant", "bee")


def test_a_run_leaves_what_the_readme_says_and_the_set_exports_as_pictures(tmp_path, buffers):
    assert distill(tmp_path, *TINY_METHOD["mtt"], "evaluation.baselines=[]", buffers).returncode == 0
    run = result(tmp_path, "mtt", "0")
    left = {".hydra", "DONE", "checkpoint.safetensors", "distill.log", "metrics.jsonl", "result.json"}
    assert left | {"moments", "synthetic.png", "synthetic.safetensors"} <= {path.name for path in run.iterdir()}
    synthetic = load_synthetic(run / "synthetic.safetensors")
    assert float(synthetic.syn_lr) > 0
    words = [str(run / "synthetic.safetensors"), "pictures"]
    assert run_script("export", *words, cwd=tmp_path).returncode == 0
    assert len(list((tmp_path / "pictures").rglob("*.png"))) == 100
    assert len((tmp_path / "pictures" / "labels.csv").read_text().splitlines()) == 101
    again = run_script("export", *words, cwd=tmp_path)
    assert again.returncode == 2
    assert "not empty" in again.stderr
