"""A seed gives the set that it has always given, and gives it again after a kill, for every method and plug-in.

``python -m tests.unit.utils.test_seeds FOLDER`` writes the figures anew, for a change that is meant to change results.
"""

import json
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from cmidd import load_synthetic
from cmidd.samplers import dream
from cmidd.samplers.dream import representatives
from tests.support.golden import GOLDEN
from tests.support.runs import run_here, run_until

pytestmark = pytest.mark.no_cover  # Others go through the same lines; tracing composes four times as long.

SHORT = ["evaluation.repeats=1", "evaluation.training.epochs=1", "checkpoint_seconds=0", "ipc=4"]
STAGES = ["schedule.stages=2", "schedule.warm_epochs=1", "schedule.pool=2"]
RUNS = {
    "dm": ["regularizer=[iid,mim4dd,cmi]", "cmi.lambda=1", "iid.lambda=1", "mim4dd.lambda=1"],
    "dm dream pdd": ["sampler=dream", "sampler.interval=3", "schedule=pdd", *STAGES, "method.batch_real=8"],
    "dc": ["method.lr_img=1", "cmi.lambda=1"],
    "dsa": [
        "method.lr_img=1",
        "method.distance=mse",
        "sampler=dream",
        "sampler.interval=2",
        "schedule=seqmatch",
        *STAGES,
    ],
    "idm": ["regularizer=[iid,cmi]", "cmi.lambda=1", "iid.lambda=1", "method.ce_weight=1", "method.iterations=6"],
    "idc": [
        "method.distinct=false",
        "method.batch_syn_max=12",
        "method.lr_img=0.5",
        "method.momentum=0.6",
        "method.net.cutmix=0.5",
        "cmi.lambda=1",
    ],
    "idc pixels": ["method.init=noise", "method.distance=cos", "method.formation.factor=3", "method.base_side=16"],
    "mtt": [
        "method.syn_steps=5",
        "method.batch_syn=30",
        "method.lr_lr=0.001",
        "method.max_start_epoch=2",
        "cmi.lambda=1",
    ],
}
RUNS["mtt"] += ["method.experts.training.epochs=2", "regularizer=[mim4dd,cmi]", "mim4dd.lambda=1"]
# What these settings were before there were such settings.
for name in ("dm", "idm"):
    RUNS[name] += ["iid.teacher_weight_decay=0.001"]
RUNS["idc"] += ["cmi.input=preprocessed"]


def figures(folder):
    """The last row of the metrics that tells a loss, and for every class how its images lie along a pattern."""
    synthetic = load_synthetic(folder / "synthetic.safetensors")
    pattern = torch.randn(synthetic.images[0].shape, generator=torch.Generator().manual_seed(0))
    along = [float((own * pattern).sum()) for own in synthetic.images.split(len(synthetic.images) // 10)]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if "loss" in row][-1]
    return {**last, **{f"along {number}": value for number, value in enumerate(along)}}


def choosing(chosen):
    """DREAM's choice of images, noted in ``chosen`` by the seed of its generator; where it stands there, it must be as
    good as the same, and is followed: of two images that are equally near to a centre, each CPU's rounding takes
    another, and runs part from there.
    """

    def choose(data, size, network, generator, rounds):
        own = [each.tolist() for each in representatives(data, size, network, generator, rounds)]
        noted = chosen.setdefault(str(generator.initial_seed()), own)
        pairs = [pair for both in zip(own, noted, strict=True) for pair in zip(*both, strict=True)]
        assert sum(one == other for one, other in pairs) >= 0.9 * len(pairs)
        return [torch.tensor(each) for each in noted]

    return choose


@pytest.mark.parametrize("name", RUNS)
def test_a_seed_gives_the_figures_it_has_always_given(tmp_path, name, monkeypatch):
    golden, chosen = (json.loads((GOLDEN / f"{file}.json").read_text())[name] for file in ("seeds", "seeds_chosen"))
    monkeypatch.setattr(dream, "representatives", choosing(chosen))
    method = name.split()[0]
    whole = figures(run_here(tmp_path / "whole", method, *SHORT, *RUNS[name]))
    assert whole == pytest.approx(golden, rel=5e-5, abs=5e-5)
    run_until(2, "checkpoint.safetensors", tmp_path / "results", method, *SHORT, *RUNS[name])
    assert figures(run_here(tmp_path / "results", method, *SHORT, *RUNS[name])) == whole


if __name__ == "__main__":
    made, chosen = {}, {name: {} for name in RUNS}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in RUNS.items():
            dream.representatives = choosing(chosen[name])
            made[name] = figures(run_here(Path(folder, name, "results"), name.split()[0], *SHORT, *words))
    Path(sys.argv[1], "seeds.json").write_text(json.dumps(made, indent=1))
    Path(sys.argv[1], "seeds_chosen.json").write_text(json.dumps(chosen))
