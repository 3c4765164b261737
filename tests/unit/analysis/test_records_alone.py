"""What figures choose among records, which may be kept without their synthetic sets."""

import pytest

from tests.support.records import record
from tests.support.refusals import script, script_refused


def test_records_alone_give_the_figures_of_accuracies_and_say_what_the_others_need(tmp_path):
    for weight in (0, 0.25, 0.5, 1):
        folder = tmp_path / "results"
        evaluations = {"5": [80.0, 81.0], "10": [90.0, 91.0 + weight]}
        more = {"evaluations": evaluations, "command": "python scripts/distill.py method=dm"}
        record(folder, "dm", "digits", 10, weight, 0, evaluations["10"], **more)
    words = ["method=dm", "dataset=digits", "weight=1"]
    code, out, err = script("figures", *words, cwd=tmp_path)
    assert code == 0, err
    said = out + err
    assert "images, embeddings: not drawn, DM has a record without its synthetic.safetensors" in said
    assert "run it again: python scripts/distill.py method=dm" in said
    assert "cmi: not drawn" in said
    drawn = {path.name for path in (folder / "figures" / "dm_digits_ipc10").iterdir()}
    names = ("accuracy", "weights", "arrangement")
    assert drawn == {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}
    code, _, err = script("figures", *words, "movie=true", cwd=tmp_path)
    assert code == 2
    assert "movie=true:" in err
    assert "has no moments/" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["weight=0"], ["weight=0:", "the set without CMI is always drawn"]),
        (["weight=1", "ratio=0.3"], ["weight=1", "ratio=0.3", "give one of them"]),
    ],
)
def test_a_strength_that_is_none_and_two_of_them_are_refused(tmp_path, words, said):
    for weight in (0, 1):
        record(tmp_path / "results", "dm", "digits", 10, weight, 0, [90.0])
    script_refused("figures", "figures", ["method=dm", "dataset=digits", *words], tmp_path, *said)
