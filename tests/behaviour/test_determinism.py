"""The same command and seed give the same bits: in any process, and on CUDA where that is asked for."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cmidd.cli.compose import compose
from cmidd.compute.engine import Engine, EngineSettings, choose, in_any_order, using
from cmidd.data.image_ops import bilinear
from cmidd.utils import files
from cmidd.utils.errors import SettingError
from tests.support.runs import ROOT, TINY, TINY_METHOD, distill, run_here

pytestmark = pytest.mark.no_cover  # Others go through the same lines; tracing composes four times as long.

SHORT = ["cmi.lambda=1", "evaluation.repeats=1", "checkpoint_seconds=0"]

OTHERS = sorted(TINY_METHOD.keys() - {"dm", "idc", "mtt"})  # What seeds give them is in test_seeds too.


def bits(folder):
    return [(folder / name).read_bytes() for name in ("synthetic.safetensors", "metrics.jsonl")]


@pytest.mark.parametrize(
    "method", ["dm", "idc", "mtt", *[pytest.param(each, marks=pytest.mark.heavy) for each in OTHERS]]
)
def test_a_method_with_cmi_depends_on_its_seed_and_on_nothing_else(tmp_path, method):
    first = bits(run_here(tmp_path / "first", method, *SHORT))
    for draw in (torch.manual_seed, np.random.seed, random.seed):  # What others draw is no business of ours.
        draw(12345)
    # On the CPU the setting changes nothing.
    assert bits(run_here(tmp_path / "again", method, *SHORT, "engine.deterministic=true")) == first
    other = bits(run_here(tmp_path / "other", method, *SHORT, "seed=1"))
    assert all(ours != theirs for ours, theirs in zip(other, first, strict=True))


def test_two_processes_make_the_same_experts_teachers_and_set(tmp_path):
    words = [*TINY_METHOD["mtt"], *SHORT, "evaluation.baselines=[random]"]
    folders = [tmp_path / name for name in ("new", "forked")]
    for folder in folders:
        folder.mkdir()
    command = [sys.executable, str(ROOT / "scripts" / "distill.py"), *TINY, *words]
    environment = os.environ | {"PYTHONHASHSEED": "12345"}  # That of the other one is random.
    new = subprocess.Popen(command, cwd=folders[0], env=environment, stdout=subprocess.DEVNULL)
    assert distill(folders[1], *words).returncode == 0
    assert new.wait(timeout=240) == 0
    made = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
        for folder in folders
    ]
    timed = ("result.json", "checkpoint.safetensors", "distill.log")
    same = {path for path in made[0] if path.name not in timed}
    assert {"expert_001.safetensors", "teacher_000.safetensors", "synthetic.safetensors"} <= {p.name for p in same}
    assert [path for path in same if made[0][path] != made[1].get(path)] == []


@pytest.mark.gpu
@pytest.mark.parametrize("method", list(TINY_METHOD))
def test_on_cuda_a_deterministic_run_repeats_to_the_bit(tmp_path, method):
    words = [*SHORT, "device=cuda", "engine.deterministic=true"]
    runs = [bits(run_here(tmp_path / name / "results", method, *words)) for name in ("first", "again")]
    assert runs[0] == runs[1]


def test_the_setting_is_for_cuda_and_names_what_it_makes():
    asked = EngineSettings(deterministic=True)
    assert choose(asked, torch.device("cpu"), values=0) == choose(EngineSettings(), torch.device("cpu"), values=0)
    engine = choose(asked, torch.device("cuda"), values=0)
    assert engine.deterministic
    assert engine.label == "tf32, deterministic"  # so its caches are its own


def test_records_from_before_the_setting_stay_valid(tmp_path):
    assert "deterministic" not in compose([]).identity["engine"]
    assert compose(["engine.deterministic=true"]).identity["engine"]["deterministic"]
    folder = run_here(tmp_path, "dm")
    files.write_json(folder / "engine.json", {"precision": "float32", "compile": False})
    (folder / "DONE").unlink()
    assert files.read_json(run_here(tmp_path, "dm") / "result.json")["engine"]["deterministic"] is False


def test_what_has_no_deterministic_form_is_named_in_one_line_and_torch_is_as_before():
    with pytest.raises(SettingError, match=r"^engine\.deterministic=true: put_ does not have.*=false$"):  # noqa: SIM117
        with using(Engine(deterministic=True)):
            with in_any_order():
                assert not torch.are_deterministic_algorithms_enabled()
            assert torch.are_deterministic_algorithms_enabled()
            torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic


@pytest.mark.parametrize("align_corners", [False, True])
def test_bilinear_sampling_by_indexing_is_grid_sample(align_corners):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 9, 7, dtype=torch.float64, generator=generator)
    theta = torch.eye(2, 3, dtype=torch.float64) + 0.4 * torch.randn(4, 2, 3, dtype=torch.float64, generator=generator)
    grid = F.affine_grid(theta, list(images.shape), align_corners=align_corners)
    sampled = []
    for sample in (bilinear, lambda *given: F.grid_sample(*given[:2], align_corners=given[2])):
        leaf = images.clone().requires_grad_()
        values = sample(leaf, grid, align_corners)
        sampled.append((values.detach(), torch.autograd.grad(values.square().sum(), leaf)[0]))
    for ours, theirs in zip(*sampled, strict=True):
        torch.testing.assert_close(ours, theirs)
