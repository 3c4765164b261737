"""Full and read-only disks, files that vanish, what killed processes leave: one line, and nothing is lost."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from cmidd.buffers.experts import Experts
from cmidd.utils import files, tensor_files
from cmidd.utils.errors import SettingError
from tests.support.contexts import SETTINGS, context
from tests.support.runs import TINY_METHOD, distill, run_here, run_until

KEPT = "what was done before is kept"


@pytest.fixture
def disk(tmp_path):
    """A disk of one mebibyte."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("may not mount a small disk here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def one_line(ended, *parts):
    assert ended.returncode == 2, ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert all(part in ended.stderr for part in (*parts, KEPT)), ended.stderr


def test_on_a_full_disk_a_run_stops_with_one_line_and_goes_on_when_there_is_room(tmp_path, disk):
    words = [*TINY_METHOD["dm"], "evaluation.baselines=[]", f"buffers_root={tmp_path}/buffers", f"results_root={disk}"]
    # Room for one checkpoint of 53,000 bytes, but not for the next one beside it.
    (disk / "ballast").write_bytes(bytes(2**20 - 110_000))
    ended = distill(tmp_path, *words, "checkpoint_seconds=0")
    one_line(ended, "checkpoint.safetensors: ", "No space left on device: 5", " kB needed in ", "seed0, ", " free")
    folder = disk / "digits" / "dm" / "ipc10" / "cmi0" / "seed0"
    assert tensor_files.read_tensors(folder / "checkpoint.safetensors")[1]["iteration"] > 0
    assert not list(folder.glob(".*.part"))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    one_line(distill(tmp_path, *words), str(disk), "Read-only file system")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    (disk / "ballast").unlink()
    assert "resuming at iteration" in distill(tmp_path, *words).stdout
    whole = run_here(tmp_path / "whole", "dm")
    for name in ("synthetic.safetensors", "metrics.jsonl"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_a_disk_that_has_room_but_not_for_files_says_so(disk):
    subprocess.run(["mount", "-o", "remount,size=8m,nr_inodes=4", disk], check=True)
    for number in (0, 1):
        files.write_json(disk / f"{number}.json", {})
    with pytest.raises(OSError, match=r"3 B needed in .*, 8\.4 MB and 1 inodes \(df -i\) free"):
        files.write_json(disk / "2.json", {})


@pytest.mark.parametrize("error", [OSError(errno.EDQUOT, files.QUOTA), OSError(0, f"I/O error: {files.QUOTA} (122)")])
def test_a_quota_that_is_used_up_is_not_called_a_full_disk(tmp_path, error):
    refused = pytest.raises(OSError, match=f"{files.QUOTA}: 9 B needed in .*; it may be that of files")
    with refused, files.atomic_write(tmp_path / "set.json", 9):
        raise error


def test_a_full_disk_is_named_where_the_system_names_none():
    with pytest.raises(OSError, match="/dev/full"):
        files.append_line(Path("/dev/full"), "a row")


@pytest.fixture
def umask():
    """Sets what new files withhold, until the test ends."""
    former = os.umask(0)
    os.umask(former)
    yield os.umask
    os.umask(former)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such modes")
@pytest.mark.parametrize(("withheld", "mode"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_tensors_may_be_read_by_whom_the_umask_lets_read_all_other_files(tmp_path, umask, withheld, mode):
    umask(withheld)
    tensor_files.write_tensors(tmp_path / "set.safetensors", {"images": torch.zeros(2)}, {})
    files.write_json(tmp_path / "set.json", {})
    assert [path.stat().st_mode & 0o777 for path in sorted(tmp_path.glob("set.*"))] == [mode, mode]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="has no users of that kind")
def test_tensors_that_may_not_be_read_are_not_called_absent():
    with tempfile.TemporaryDirectory() as folder:
        path, former = Path(folder) / "set.safetensors", os.geteuid()
        path.parent.chmod(0o755)
        tensor_files.write_tensors(path, {"images": torch.zeros(2)}, {})
        path.chmod(0)
        if former == 0:  # Who may read all.
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError, match=r"set\.safetensors"), tensor_files.opened(path):
                pass
        finally:
            os.seteuid(former)


def test_what_dead_processes_were_writing_goes_and_what_living_ones_write_stays(tmp_path):
    path, other = tmp_path / "set.json", tmp_path / "other.json"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    code = (
        "import sys, time, pathlib; from cmidd.utils import files\n"
        "with files.atomic_write(pathlib.Path(sys.argv[1])) as beside:\n"
        "    beside.write_text('[]'); print(beside.parent.name, flush=True); input()"
    )
    living = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    its_part = living.stdout.readline().strip()
    parts = [its_part.replace(f".{living.pid}.", f".{dead.pid}."), its_part.replace("set.json", "other.json")]
    for name in parts:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / ".tmpXYZ").write_text("half")
    files.write_json(path, {})
    assert {part.name for part in tmp_path.glob(".*.part")} == {its_part, parts[1]}
    living.communicate("\n")
    assert files.read_json(path) == []
    files.write_json(other, {})
    assert list(tmp_path.glob(".*.part")) == []


def test_what_another_machine_was_writing_goes_after_a_day(tmp_path):
    parts = {tmp_path / f".set.json.{host}.7.part": age for host, age in {"node2": 90_000, "n3.lab": 0}.items()}
    for part, age in parts.items():
        part.mkdir()
        (part / "new").write_text("half")
        os.utime(part, (time.time() - age,) * 2)
    files.write_json(tmp_path / "set.json", {})
    assert [part.exists() for part in parts] == [False, True]


def test_a_folder_that_lost_its_settings_is_not_gone_on_with_but_kept(tmp_path):
    folder = run_here(tmp_path, "dm")
    (folder / "settings.json").unlink()
    with pytest.raises(SettingError, match=r"without its settings\.json"):
        run_here(tmp_path, "dm", "method.lr_img=3")
    run_here(tmp_path, "dm", "overwrite=true")
    assert (folder.with_name("seed0.replaced1") / "synthetic.safetensors").exists()


def test_experts_that_vanish_are_named_and_made_anew_to_the_same_bits(tmp_path):
    whole = run_here(tmp_path / "whole", "mtt")
    run_until(2, "checkpoint.safetensors", tmp_path / "cut", "mtt", "checkpoint_seconds=0")
    shutil.rmtree(tmp_path / "buffers")
    cut = run_here(tmp_path / "cut", "mtt")
    assert (cut / "synthetic.safetensors").read_bytes() == (whole / "synthetic.safetensors").read_bytes()
    experts = Experts(context(tmp_path), SETTINGS)
    shutil.rmtree(experts.folder)
    with pytest.raises((OSError, SettingError), match=r"expert_001\.safetensors"):
        experts.segment(1, 0, 1)


def test_images_that_vanish_stop_a_resumed_run_which_goes_on_when_they_are_back(tmp_path):
    images = tmp_path / "images"
    for label in ("ant", "bee"):
        (images / label).mkdir(parents=True)
        for number in range(8):
            pixels = torch.randint(256, (8, 8, 3), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(images / label / f"{number}.png")
    words = ["dataset=folder", f"data.root={images}", "dataset.size=8", "ipc=2", "method.batch_real=4"]
    run_until(2, "checkpoint.safetensors", tmp_path / "cut", "dm", *words, "checkpoint_seconds=0")
    images.rename(tmp_path / "gone")
    with pytest.raises(SettingError, match=rf"data\.root={images}: no such folder"):
        run_here(tmp_path / "cut", "dm", *words)
    (tmp_path / "gone").rename(images)
    shutil.move(images / "bee" / "0.png", tmp_path)
    with pytest.raises(SettingError, match=rf"data\.root={images}: the images have changed since the run"):
        run_here(tmp_path / "cut", "dm", *words)
    shutil.move(tmp_path / "0.png", images / "bee")
    whole, cut = (run_here(tmp_path / name, "dm", *words) for name in ("whole", "cut"))
    assert (cut / "synthetic.safetensors").read_bytes() == (whole / "synthetic.safetensors").read_bytes()
