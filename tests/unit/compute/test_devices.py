"""The device that a run gets, on machines with and without GPUs, and what is measured there."""

import getpass
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from cmidd.compute import devices
from cmidd.compute.devices import peak_memory_mib, pick_device
from cmidd.compute.engine import Engine, EngineSettings, choose
from cmidd.utils.errors import SettingError

CPU, MPS = torch.device("cpu"), torch.device("mps")


@pytest.fixture
def machine(monkeypatch):
    """Makes this a machine with so many CUDA devices, and with or without the GPU of a Mac."""

    def has(cuda: int, mps: bool = False, *, of: tuple[int, int] = (9, 0), built: str = "sm_75 sm_90") -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: of)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
        monkeypatch.setattr(torch.cuda, "get_arch_list", built.split)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


@pytest.mark.parametrize(
    ("cuda", "mps", "taken"), [(2, True, "cuda"), (0, True, "cpu"), (0, False, "cpu")], ids=["card", "Mac", "neither"]
)
def test_auto_takes_a_card_else_the_cpu_where_numbers_are_tested(machine, cuda, mps, taken):
    machine(cuda, mps)
    assert pick_device("auto") == torch.device(taken)
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize(
    ("name", "cuda", "said"),
    [
        ("cuda:7", 1, "device=cuda:7: 1 CUDA device here, counted from cuda:0; use cuda:0 or auto"),
        ("cuda:2", 2, "device=cuda:2: 2 CUDA devices here, counted from cuda:0; use cuda:1 or auto"),
        ("cuda:0", 0, "device=cuda:0: no CUDA device here; use device=cpu or device=auto"),
        ("mps", 1, "device=mps: no GPU of a Mac that torch computes on (mps) here; use device=cpu or device=auto"),
        ("tpu", 1, "device=tpu: unknown; use auto, cpu, cuda, cuda:<n>, mps or free_gpu"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_what_there_is(machine, name, cuda, said):
    machine(cuda, mps=False)
    with pytest.raises(SettingError) as error:
        pick_device(name)
    assert str(error.value) == said


def test_the_last_card_is_taken(machine):
    machine(cuda=2, mps=False)
    assert pick_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(
    ("of", "built", "way"),
    [
        (
            (7, 0),
            "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120",
            "has no code for Card, of compute capability 7.0 (for 7.5 to 12.0)",
        ),
        (
            (12, 0),
            "sm_50 sm_80 sm_90a",
            "of compute capability 12.0 (for 5.0 to 9.0); install one that is built for a later",
        ),
    ],
    ids=["V100", "RTX 50"],
)
def test_a_card_that_torch_has_no_code_for_is_said_before_its_first_kernel_fails(machine, caplog, of, built, way):
    machine(cuda=1, of=of, built=built)
    assert pick_device("auto") == CPU
    assert caplog.messages[0].startswith("device=auto: the CPU, for this torch") and way in caplog.text
    with pytest.raises(SettingError, match=r"^device=cuda: this torch .*, or use device=cpu$") as error:
        pick_device("cuda")
    assert way in str(error.value)


@pytest.mark.parametrize(
    ("of", "built"),
    [((7, 5), "sm_75"), ((8, 9), "sm_80 sm_86"), ((12, 1), "sm_90 compute_120"), ((9, 0), "sm_90a"), ((9, 0), "")],
)
def test_machine_code_of_its_generation_or_code_to_be_compiled_is_enough(machine, of, built):
    machine(cuda=1, of=of, built=built)
    assert pick_device("auto").type == "cuda"


def test_a_card_before_ampere_computes_in_float32_and_is_said_to(machine):
    machine(cuda=1, of=(7, 5))
    assert choose(EngineSettings(), torch.device("cuda"), values=1).precision == "float32"
    with pytest.raises(SettingError, match=r"engine\.precision=tf32: a GPU before Ampere has no TF32"):
        choose(EngineSettings("tf32"), torch.device("cuda"), values=1)
    machine(cuda=1, of=(8, 0))
    assert choose(EngineSettings(), torch.device("cuda"), values=1).precision == "tf32"


def test_a_card_too_old_for_triton_computes_a_long_run_uncompiled(machine, monkeypatch, caplog):
    monkeypatch.setattr("cmidd.compute.compilers.lacking", lambda device: None)
    machine(cuda=1, of=(6, 1), built="sm_60")
    assert not choose(EngineSettings(), torch.device("cuda"), values=1e12).compile
    assert "no GPU that Triton compiles for (of compute capability 7.0 at least, not 6.1) here, so this" in caplog.text
    with pytest.raises(SettingError, match=r"engine\.compile=true: no GPU that Triton compiles for"):
        choose(EngineSettings(compile=True), torch.device("cuda"), values=1)
    machine(cuda=1, of=(7, 0))
    assert choose(EngineSettings(), torch.device("cuda"), values=1e12).compile


def test_on_a_mac_a_long_run_is_float32_and_not_compiled_and_tf32_is_refused(monkeypatch):
    monkeypatch.setattr("cmidd.compute.compilers.lacking", lambda device: None)
    assert choose(EngineSettings(), MPS, values=1e12) == Engine("float32", compile=False)
    with pytest.raises(SettingError, match=r"engine.precision=tf32: mps has no TF32"):
        choose(EngineSettings("tf32"), MPS, values=1)


def test_the_same_bits_are_not_promised_on_a_mac():
    with pytest.raises(SettingError, match=r"engine.deterministic=true: .* on mps; use device=cpu, or false"):
        choose(EngineSettings(deterministic=True), MPS, values=1)


@pytest.mark.parametrize("new", [True, False])
def test_bf16_is_had_on_a_mac_from_macos_14_on(monkeypatch, new):
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: new and major <= 14)
    if new:
        assert choose(EngineSettings("bf16"), MPS, values=1).precision == "bf16"
    else:
        with pytest.raises(SettingError, match=r"engine.precision=bf16: .* from 14 on .*; use float32"):
            choose(EngineSettings("bf16"), MPS, values=1)


def test_memory_is_measured_on_systems_without_proc(monkeypatch):
    def absent(*_, **__):
        raise FileNotFoundError

    resource = pytest.importorskip("resource")  # which Windows has not
    monkeypatch.setattr(Path, "read_text", absent)
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak_memory_mib(CPU) == pytest.approx(kib / 2**10, rel=0.2)  # BSD
    monkeypatch.setattr(devices.sys, "platform", "darwin")  # where the same number is bytes
    assert peak_memory_mib(CPU) == pytest.approx(kib / 2**20, rel=0.2)
    monkeypatch.setitem(sys.modules, "resource", None)  # Windows
    windows = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=3 * 2**20))
    monkeypatch.setattr(psutil, "Process", lambda: windows)
    assert peak_memory_mib(CPU) == 3


def test_a_user_without_a_name_is_a_number(monkeypatch):
    def unknown():
        raise KeyError("getpwuid(): uid not found: 4242")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert devices._user() == str(os.getuid())


@pytest.mark.gpu
def test_a_number_of_a_card_that_is_not_there_is_refused_on_a_card():
    with pytest.raises(SettingError, match=r"device=cuda:99: .* here, counted from cuda:0"):
        pick_device("cuda:99")
    assert pick_device("auto").type == "cuda"
