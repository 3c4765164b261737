"""What a run says to recipes that need soft labels, or whose settings have no effect."""

import pytest

from cmidd.cli.compose import compose
from cmidd.runs.plan import plan
from cmidd.runs.run import run
from cmidd.utils.errors import SettingError


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["evaluation=datm"], r"evaluation\.training\.loss=soft"),
        (["evaluation=rded"], r"evaluation\.training\.loss=kl"),
        (["+evaluation.whole.loss=mse"], r"evaluation\.whole\.loss=mse"),
        (["method=idc", "+method.net.loss=soft"], r"method\.net\.loss=soft"),
        (["method=mtt", "+method.experts.training.loss=soft"], r"method\.experts\.training\.loss=soft"),
    ],
)
def test_a_run_refuses_soft_labels_before_anything_is_written(tmp_path, words, name):
    settings = compose([*words, f"results_root={tmp_path / 'results'}"])
    for begin in (plan, lambda settings: run(settings, lambda _: {})):
        with pytest.raises(SettingError, match=rf"^{name}: a run has hard labels alone, and no teacher; give"):
            begin(settings)
    assert not list(tmp_path.iterdir())


def test_settings_of_recipes_that_have_no_effect_are_refused_by_their_whole_name():
    for word, name in (
        ("evaluation.training.temperature=4", "evaluation.training.temperature=4.0"),
        ("+method.experts.training.temperature=4", "method.experts.training.temperature=4.0"),
        ("evaluation.training.augment.smallest=0.5", "evaluation.training.augment.smallest=0.5"),
    ):
        with pytest.raises(SettingError) as error:
            compose(["method=mtt", word])
        assert str(error.value).startswith(f"{name}: ")
    # What takes all of them back is said at once.
    with pytest.raises(
        SettingError, match=r"or evaluation\.training\.temperature=1\.0 evaluation\.training\.targets=set"
    ):
        compose(["evaluation=rded", "evaluation.training.loss=hard"])
    taken_back = ["evaluation.training.temperature=1.0", "evaluation.training.targets=set"]
    assert compose(["evaluation=rded", "evaluation.training.loss=hard", *taken_back]).evaluation.training.loss == "hard"
