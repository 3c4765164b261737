"""Many pictures are decoded once, by several processes; what is kept is found by what the files hold."""

import errno
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from PIL import Image

from cmidd.cli.compose import compose
from cmidd.data import decoders, decoding, kept_pictures
from cmidd.data.image_files import Geometry, Pictures
from cmidd.data.layouts import understand
from cmidd.runs.build import make_context
from cmidd.utils.errors import SettingError
from tests.support.runs import TINY, TINY_METHOD

GEOMETRY = Geometry(8, 3, "crop")


@pytest.fixture(autouse=True)
def many(monkeypatch):
    """A few pictures count as many, and go to the processes by fours."""
    monkeypatch.setattr(decoding, "MANY", 1)
    monkeypatch.setattr(decoding, "cpus", lambda: 1)
    monkeypatch.setattr(decoders, "MOST_AT_ONCE", 4)


@pytest.fixture
def root(tmp_path):
    for name, shade in (("ant", 40), ("bee", 90)):
        (tmp_path / "p" / name).mkdir(parents=True)
        for number in range(10):
            mode, colour = (("L", shade), ("RGB", (shade, 9 * number, 3)), ("RGBA", (shade, 1, number, 99)))[number % 3]
            picture = Image.new(mode, (9 + number, 12), colour)
            picture.putpixel((3, 3), tuple(200 for _ in picture.getbands()) if mode != "L" else 200)
            picture.save(tmp_path / "p" / name / f"{number}.png")
    return tmp_path / "p"


def pictures_in(root, geometry=GEOMETRY):
    return understand(root, "data.root=p").pictures("all", geometry, "data.root=p")


def same(found, pictures):
    plain = pictures.decoded()
    assert torch.equal(found.images, plain.images)
    assert torch.equal(found.labels, plain.labels)
    return found.seen == plain.seen


def kept_in(cache):
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


def no_decoding(monkeypatch):
    monkeypatch.setattr(decoding, "decode", None)
    monkeypatch.setattr(Image, "open", None)


@pytest.mark.parametrize("processes", [1, 3])
def test_processes_give_the_pixels_that_one_after_the_other_gives(root, processes):
    pictures = pictures_in(root)
    found, digests = decoders.decode(pictures, processes)
    assert same(found, pictures)
    assert digests == [hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures.paths]


@pytest.mark.parametrize("processes", [1, 2])
def test_the_first_picture_that_cannot_be_read_is_told_as_without_processes(root, processes):
    for name in ("ant/7.png", "bee/0.png"):
        (root / name).write_bytes(b"no picture")
    pictures = pictures_in(root)
    with pytest.raises(SettingError) as plain:
        pictures.decoded()
    with pytest.raises(SettingError) as found:
        decoders.decode(pictures, processes)
    assert str(found.value) == str(plain.value)
    assert "ant/7.png" in str(found.value)


def test_a_killed_process_is_one_line_and_leaves_no_other_behind(root, monkeypatch, tmp_path):
    started, sound = [], decoders._Decoder.decode

    def killed(self, paths, pixels):
        started.append(self.process)
        if "bee" in str(paths[0]):
            self.process.kill()
        return sound(self, paths, pixels)

    monkeypatch.setattr(decoders._Decoder, "decode", killed)
    monkeypatch.setattr(decoding, "cpus", lambda: 2)
    with pytest.raises(SettingError, match=r"^data.root=p: a process .*exit code -9.* between .*bee.*png; start again"):
        decoding.decoded(pictures_in(root), tmp_path / "cache", "p")
    assert started
    assert all(process.poll() is not None for process in started)
    assert kept_in(tmp_path / "cache") == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_stop_ends_all_processes(root, monkeypatch, stop):
    started, sound = [], decoders._Decoder.__init__

    def noted(self, pictures):
        sound(self, pictures)
        started.append(self.process)

    def stopped(self, steps=1):
        raise stop

    monkeypatch.setattr(decoders._Decoder, "__init__", noted)
    monkeypatch.setattr("cmidd.utils.progress.Progress.update", stopped)
    with pytest.raises(stop):
        decoders.decode(pictures_in(root), 2)
    assert [process.poll() is not None for process in started] == [True, True]


def test_where_no_process_starts_this_one_decodes(root, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "cmidd")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert same(decoders.decode(pictures_in(root), 2)[0], pictures_in(root))
    assert "in this process alone" in caplog.text


def test_a_decoder_imports_no_torch_and_ends_with_its_input():
    code = "import sys, cmidd.data.decoder as d; d.main(); print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], input=b"", capture_output=True, check=True, timeout=60)
    assert ended.stdout == b"ready\nFalse\n"


def test_a_second_start_opens_no_picture(root, monkeypatch, tmp_path):
    pictures, cache = pictures_in(root), tmp_path / "cache"
    first = decoding.decoded(pictures, cache, "folder_train")
    assert same(first, pictures)
    index, pixels = sorted(kept_in(cache), key=lambda name: name.rpartition(".")[2])
    assert (index.split("_")[:2], index[-5:], pixels[-12:]) == (["folder", "train"], ".json", ".safetensors")
    no_decoding(monkeypatch)
    monkeypatch.setattr(kept_pictures, "digest_of", None)
    second = decoding.decoded(pictures_in(root), cache, "folder_train")
    assert torch.equal(second.images, first.images)
    assert second.seen == first.seen


@pytest.mark.parametrize("how", ["touched", "moved"])
def test_files_that_were_touched_or_moved_are_hashed_but_not_decoded(root, monkeypatch, tmp_path, how):
    first = decoding.decoded(pictures_in(root), tmp_path / "cache", "p")
    if how == "touched":
        for path in root.rglob("*.png"):
            os.utime(path, (1, 1))
    else:
        root = root.rename(tmp_path / "q")
    with monkeypatch.context() as patched:
        no_decoding(patched)
        assert torch.equal(decoding.decoded(pictures_in(root), tmp_path / "cache", "p").images, first.images)
        patched.setattr(kept_pictures, "digest_of", None)  # The next look is enough again.
        assert torch.equal(decoding.decoded(pictures_in(root), tmp_path / "cache", "p").images, first.images)
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 1


@pytest.mark.parametrize("change", ["pixels", "added", "removed", "class"])
def test_a_changed_folder_is_decoded_anew(root, tmp_path, change):
    cache, victim = tmp_path / "cache", root / "ant" / "1.png"
    decoding.decoded(pictures_in(root), cache, "p")
    if change == "pixels":
        Image.new("RGB", (10, 12), (250, 1, 2)).save(victim)
    elif change == "added":
        shutil.copy(victim, root / "ant" / "new.png")
    elif change == "removed":
        victim.unlink()
    else:
        victim.rename(root / "bee" / "moved.png")
    assert same(decoding.decoded(pictures_in(root), cache, "p"), pictures_in(root))
    assert len(list(cache.glob("*.safetensors"))) == 2


def test_another_geometry_has_a_file_of_its_own(root, tmp_path):
    geometries = [GEOMETRY, Geometry(9, 3, "crop"), Geometry(8, 1, "crop"), Geometry(8, 3, "pad")]
    for _ in range(2):
        for geometry in geometries:
            pictures = pictures_in(root, geometry)
            assert same(decoding.decoded(pictures, tmp_path / "cache", "p"), pictures)
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == len(geometries)
    # Nor is one served that was renamed to another's place.
    first, second = sorted((tmp_path / "cache").glob("*.safetensors"))[:2]
    shutil.copy(first, second)
    for geometry in geometries:
        assert same(decoding.decoded(pictures_in(root, geometry), tmp_path / "cache", "p"), pictures_in(root, geometry))


@pytest.mark.parametrize("damage", ["cut", "no file", "no tensors", "index", "index elsewhere", "gone"])
def test_what_is_damaged_is_made_again(root, monkeypatch, caplog, tmp_path, damage):
    cache, pictures = tmp_path / "cache", pictures_in(root)
    decoding.decoded(pictures, cache, "p")
    (index,), (pixels,) = cache.glob("*.json"), cache.glob("*.safetensors")
    if damage == "cut":
        os.truncate(pixels, pixels.stat().st_size - 9)
    elif damage == "no file":
        pixels.write_bytes(b"damaged")
    elif damage == "no tensors":
        pixels.write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    elif damage == "index":
        index.write_text("{")
    elif damage == "index elsewhere":
        index.write_text('{"content": "../../x"}')
    else:
        pixels.unlink()
    caplog.clear()
    assert same(decoding.decoded(pictures, cache, "p"), pictures)
    assert caplog.text.count("decoded anew") == 1
    no_decoding(monkeypatch)
    assert len(decoding.decoded(pictures, cache, "p")) == 20


def test_of_two_that_want_the_same_one_decodes(root, monkeypatch, tmp_path):
    calls, sound = [], decoding.decode

    def counting(*arguments):
        calls.append(arguments)
        return sound(*arguments)

    monkeypatch.setattr(decoding, "decode", counting)
    with ThreadPoolExecutor(3) as threads:  # A lock has a file handle of its own each time, as in another process.
        every = threads.map(lambda _: decoding.decoded(pictures_in(root), tmp_path / "cache", "p"), range(3))
        assert all(same(found, pictures_in(root)) for found in every)
    assert len(calls) == 1
    assert len(kept_in(tmp_path / "cache")) == 2


@pytest.mark.parametrize("disk", ["no folder", "full"])
def test_where_nothing_can_be_kept_one_line_says_so(root, monkeypatch, caplog, tmp_path, disk):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device: 1.9 GB needed", "images")

    if disk == "full":
        monkeypatch.setattr("cmidd.utils.tensor_files.write_tensors", full)
    else:
        (tmp_path / "cache").write_text("a file")
    assert same(decoding.decoded(pictures_in(root), tmp_path / "cache", "p"), pictures_in(root))
    assert caplog.text.count("not kept") == 1
    assert disk != "full" or kept_in(tmp_path / "cache") == []


def test_nothing_is_kept_of_files_that_change_meanwhile(root, monkeypatch, caplog, tmp_path):
    def slow(*arguments, sound=decoding.decode):
        found = sound(*arguments)
        os.utime(root / "ant" / "1.png", (1, 1))
        return found

    monkeypatch.setattr(decoding, "decode", slow)
    assert same(decoding.decoded(pictures_in(root), tmp_path / "cache", "p"), pictures_in(root))
    assert kept_in(tmp_path / "cache") == []
    assert "changed while they were decoded" in caplog.text


def test_of_few_pictures_nothing_is_kept(root, monkeypatch, tmp_path):
    monkeypatch.setattr(decoding, "MANY", 21)
    assert isinstance(pictures_in(root), Pictures)
    decoding.decoded(pictures_in(root), tmp_path / "cache", "p")
    assert kept_in(tmp_path / "cache") == []
    monkeypatch.setattr(decoding, "MANY_BYTES", 1)
    decoding.decoded(pictures_in(root), tmp_path / "cache", "p")
    assert len(kept_in(tmp_path / "cache")) == 2


def test_a_run_keeps_them_among_its_buffers_and_a_dry_run_nothing(root, tmp_path):
    words = [*TINY, *TINY_METHOD["dm"], "ipc=1", "dataset=folder", f"data.root={root}", "dataset.size=8"]
    words += [f"buffers_root={tmp_path / 'buffers'}"]
    cpu = torch.device("cpu")
    dry = make_context(compose([*words, "dry_run=true"]), cpu)
    assert not (tmp_path / "buffers").exists()
    first, second = (make_context(compose(words), cpu) for _ in range(2))
    names = {name.split("_")[1] for name in kept_in(tmp_path / "buffers" / "images")}
    assert names == {"train", "test"}
    assert first.data_key == second.data_key == dry.data_key
    assert torch.equal(first.data.train.images, second.data.train.images)
