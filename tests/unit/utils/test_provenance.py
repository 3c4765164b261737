"""The commit of a record is that of this code, not of a project that it is installed in."""

import subprocess

import pytest

from cmidd.utils import provenance


def git(folder, *words):
    own = ("user.name=x", "user.email=x@x", "commit.gpgsign=false", "core.hooksPath=/dev/null")
    names = [word for each in own for word in ("-c", each)]
    done = subprocess.run(["git", *names, "-C", str(folder), *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize(("place", "ours"), [("cmidd", True), (".venv/lib/site-packages/cmidd", False)])
def test_the_commit_is_of_the_repository_whose_package_it_is(tmp_path, monkeypatch, place, ours):
    (tmp_path / place).mkdir(parents=True)
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "x")
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / place)
    assert provenance._commit() == (git(tmp_path, "rev-parse", "HEAD") if ours else None)


def test_without_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    assert provenance._commit() is None
