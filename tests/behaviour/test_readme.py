"""The README is short, and its lines for setting up are those that CI runs."""

import yaml

import cmidd
from tests.support.pages import FIRST, TESTS
from tests.support.refusals import ROOT

README = (ROOT / "README.md").read_text()


def test_the_lines_that_set_up_stand_each_on_one_line():
    assert README.splitlines().count(FIRST) == 1
    assert [line for line in README.splitlines() if "-m pytest" in line] == [TESTS]  # .ci/run takes the first.


def test_the_citation_and_the_changes_name_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert cited["version"] == cmidd.__version__
    assert f"## [{cmidd.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert cited["references"][0]["title"] in " ".join(README.split())


def test_it_is_about_six_hundred_words():
    assert 500 <= len(README.split()) <= 650
