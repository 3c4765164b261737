"""What is typed and changes nothing is said, and a recipe or launcher that cannot be meant is refused."""

import re

import pytest

from cmidd.cli.compose import compose
from cmidd.runs.idle import idle
from tests.support.refusals import script
from tests.support.runs import TINY_METHOD, distill

DRY = [*TINY_METHOD["dm"], "dry_run=true"]
IDLE = {
    "cmi.pool=5": "no term asks for teachers",
    "cmi.centroids=real": "CMI is off",
    "balance_steps=3": "no weight is measured",
    "evaluation.optimizer=carried": "one stage",
    "evaluation.features.epochs=3": "no baseline is chosen by features",
    "evaluation.whole.lr=0.5": "the whole data set is not measured",
    "wandb.project=mine": "tracking=wandb",
    "data.root=flowers": "dataset=<name>",
}


def test_words_without_effect_are_said_with_what_they_need(tmp_path):
    done = distill(tmp_path, *DRY, "evaluation.baselines=[random]", "ipc=3", *IDLE, tiny=False)
    said = re.findall(r"^(\S+) changes nothing here: (.*)$", done.stdout + done.stderr, re.MULTILINE)
    assert dict(said).keys() == IDLE.keys()
    assert all(IDLE[word] in why for word, why in said)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["cmi=balanced"], "cmi.pool"),
        (["cmi.lambda=1"], "cmi.centroids"),
        (["regularizer=[iid]"], "cmi.teacher"),
        (["cmi.measure=true"], "balance_steps"),
        (["method=idc", "schedule=pdd"], "evaluation.optimizer"),
        (["evaluation.baselines=[herding]"], "evaluation.features"),
        (["evaluation.baselines=[whole]"], "evaluation.whole"),
        (["tracking=wandb"], "wandb.project"),
        (["dataset=cifar10"], "data.root"),
    ],
)
def test_where_there_is_what_they_need_they_are_not(words, name):
    assert name in idle(compose(["method=dm", "evaluation.baselines=[]"]))
    assert name not in idle(compose(["method=dm", "evaluation.baselines=[]", *words]))


@pytest.mark.parametrize("zca", [False, True])
def test_statistics_of_channels_change_nothing_where_images_are_whitened(zca):
    found = idle(compose(["method=dm", "dataset=cifar10", f"dataset.zca={zca}", "dataset.statistics=imagenet"]))
    assert ("dataset.statistics" in found) == zca


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("recipe/schedule=typo", "recipe/schedule=typo: unknown; choose one of pdd_idc_cifar10, "),
        ("+launch=local", "+launch=local: hands out the runs of a sweep, and this is one run; add -m"),
        ("hydra/launcher=joblib", "hydra/launcher=joblib: hands out the runs of a sweep"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, word, said):
    done = distill(tmp_path, *TINY_METHOD["dm"], word)
    assert done.returncode == 2
    assert said in done.stderr


def test_only_a_run_is_put_aside(tmp_path):
    code, _, err = script("teachers", "overwrite=true", cwd=tmp_path)
    assert code == 2
    assert "overwrite=true: only distill.py puts runs aside; delete below buffers_root" in err
