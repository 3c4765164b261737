"""Every key of a config does something: it changes what the record says of the run, or is refused, or acts elsewhere.

A mistyped copy of every key is refused with the right one.
"""

import sys
from types import SimpleNamespace

import hydra
import pytest
import torch

from cmidd.cli.compose import CONFIGS, as_dict, compose
from cmidd.compute.devices import pick_device
from cmidd.data.load import load_dataset
from cmidd.loop.checkpoints import Progress
from cmidd.runs.build import make_context
from cmidd.runs.read_settings import read_settings
from cmidd.runs.settings import FREE
from cmidd.runs.tracking import Tracker
from cmidd.utils import tensor_files
from cmidd.utils.errors import SettingError
from tests.support.refusals import at, changed, leaves
from tests.support.runs import again

pytestmark = pytest.mark.no_cover  # Others go through the same lines; tracing composes four times as long.

BASES = {
    "mtt": ["method=mtt", "+cmi.lambda=1"],
    "dm": ["method=dm", "cmi=balanced"],
    "dc": ["method=dc", "dataset=cifar10", "cmi=paper"],
    "dsa": ["method=dsa", "dataset=cifar10", "cmi=recipe", "ipc=1"],
    "idm": ["method=idm", "regularizer=[iid,mim4dd]", "sampler=dream"],
    "idc": ["method=idc", "sampler=dream", "schedule=pdd"],
    "idc_cifar": ["method=idc", "dataset=cifar10"],
    "seqmatch": ["method=mtt", "schedule=seqmatch", "network=resnet18"],
    "folder": ["method=dm", "dataset=folder"],
    "datm": ["method=datm", "dataset=cifar10", "ipc=10", "cmi.own=1"],
    "ncfm": ["method=ncfm", "dataset=cifar100", "ipc=10", "sampler=first", "cmi.own=1"],
}
# Another valid value of what is no number and no switch, by the last part of the name; the first that is another.
OTHERS = {
    **{
        "precision": ["bf16"],
        "compile": [True],
        "mode": ["offline"],
        "at_once": [2],
        "on_nan": ["rollback"],
        "device": ["cpu"],
    },
    **{
        "statistics": ["cifar10", "train"],
        "strategy": ["flip", "crop"],
        "augment": ["flip"],
        "teacher": ["mlp", "lenet"],
    },
    **{"init": ["noise", "real"], "dtype": ["float16", "float32"], "norm": ["none"], "activation": ["sigmoid", "relu"]},
    **{
        "pooling": ["max"],
        "downsampling": ["avgpool", "stride"],
        "schedule": ["constant", "late"],
        "optimizer": ["carried", "adam", "adamw"],
        "frequencies": ["learned"],
        "baselines": [["whole"], []],
    },
    **{
        "input": ["pixels", "preprocessed"],
        "centroids": ["real"],
        "fit": ["squash"],
        "fill": ["repeat"],
        "channels": [3, 1],
        "distance": ["cos", "mse"],
        "composition": ["one", "idc"],
        "loss": ["kl"],
        "targets": ["teacher"],
        "hard_epochs": [1],
        "selection": ["held_out"],
    },
    **{"tile_order": ["rows", "columns"], "shrink": ["nearest", "bilinear"], "stored_as": ["input", "pixels"]},
    **{"root": ["elsewhere"], "project": ["mine"], "results_root": ["there"], "buffers_root": ["there"]},
    **{
        "lambda": [0.5],
        "ratio": [0.7],
        "fallback": ["paper", "recipe"],
        "published": [{1: 3.0, 10: 5.0}],
        "own": [0.7],
    },
    **{"teachers": ["elsewhere"], "warm_epochs": [3], "epochs": [3], "batch_syn": [3], "pool": [3], "size": [16]},
    **{"overrides": [[{"lr_img": 3.0}]], "meter_reset": [7], "meters": [7], "name": ["lenet", "digits", "dm", "pdd"]},
    **{"weight_decay": [0.25], "download": [False], "default": [0.7]},
}
# Where a value is taken from in other cases only: what does it, and the base in which it acts.
DORMANT = {
    "cmi.fallback": "dsa",
    "cmi.published": "dc",
    "cmi.own": "dsa",
    "iid.default": "idm",
    "mim4dd.default": "idm",
    "cmi.input": "mtt",
    "method.distinct": "idc_cifar",
}


def composed(words):
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return as_dict(hydra.compose("distill", words))


def another(name, value):
    """Another value of a setting that may be right."""
    for other in OTHERS.get(name.rpartition(".")[2], []):
        if other != value:
            return other
    if isinstance(value, bool):
        return not value
    assert isinstance(value, int | float), f"no other value is known for {name}={value}"
    return value + 1 if isinstance(value, int) else value / 2 or 0.25


def acts(config, name, identity):
    """Whether the record of a run with another value says something else; None where it is refused."""
    try:
        return read_settings(changed(config, name, another(name, at(config, name)))).identity != identity
    except SettingError:
        return None


@pytest.fixture(scope="module")
def bases():
    return {base: composed(words) for base, words in BASES.items()}


def keys(bases):
    """Every base with its keys, but for those that an earlier base had with the same value."""
    seen = set()
    for base, config in bases.items():
        for name in leaves({**config, "cmi": {**config["cmi"], "published": []}}):  # whose keys are numbers of images
            if (name, repr(at(config, name))) not in seen or (name in DORMANT and DORMANT[name] == base):
                seen.add((name, repr(at(config, name))))
                yield base, config, name


@pytest.fixture(scope="module")
def outcomes(bases):
    """For every base and key: what another value did."""
    found, identities = {}, {base: read_settings(config).identity for base, config in bases.items()}
    for base, config, name in keys(bases):
        if name.partition(".")[0] not in FREE and name not in ("dataset.augment", "dataset.teacher"):
            found[base, name] = acts(config, name, identities[base])
    return found


def test_another_value_of_any_key_is_in_the_record_or_refused(outcomes):
    silent = [(base, name) for (base, name), outcome in outcomes.items() if outcome is False]
    assert {name for _, name in silent} <= set(DORMANT), silent
    counts = {kind: list(outcomes.values()).count(kind) for kind in (True, None, False)}
    assert counts[True] >= 170, counts
    print("in the record, refused, without effect in this run:", *counts.values())


@pytest.mark.parametrize("name", DORMANT)
def test_what_does_nothing_in_some_runs_acts_in_others(outcomes, name):
    assert outcomes[DORMANT[name], name] is not False


def test_what_others_refer_to_changes_what_refers_to_it():
    plain = compose(["method=dm", "cmi=balanced"])
    assert compose(["method=dm", "cmi=balanced", "dataset.augment=flip"]).method["augment"] != plain.method["augment"]
    assert compose(["method=dm", "cmi=balanced", "dataset.teacher=mlp"]).cmi.teacher == "mlp"


def test_what_may_differ_between_two_starts_is_listed_in_one_place():
    assert set(FREE_ACTS) == FREE


def test_a_mistyped_copy_of_any_key_is_refused(bases):
    tried = set()
    for _, config, name in keys(bases):
        above, _, last = name.rpartition(".")
        typed = next(
            word
            for word in (last[:-1], last + last[-1])
            if word and word not in (at(config, above) if above else config)
        )
        if name in tried:
            continue
        tried.add(name)
        with pytest.raises(SettingError) as error:
            read_settings(changed(config, f"{above}.{typed}" if above else typed, at(config, name)))
        assert typed in str(error.value), (name, typed, str(error.value))
        assert "unknown setting" in str(error.value), (name, typed, str(error.value))
    assert len(tried) >= 130


# What the settings that are no part of a run's identity do instead.


def differs_in_folder(folder):
    assert compose(["results_root=there"]).folder != compose([]).folder


def other_caches(folder):
    words = ["dataset=digits", "method=dm"]
    contexts = [make_context(compose([*words, *more]), torch.device("cpu")) for more in ([], ["buffers_root=there"])]
    assert contexts[0].buffers != contexts[1].buffers


def another_device(folder):
    assert pick_device(compose(["device=cpu"]).device).type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(SettingError, match="device=cuda"):
            pick_device(compose(["device=cuda"]).device)


def other_files(folder):
    data = compose(["dataset=cifar10", "method=dm", "data.download=false", f"data.root={folder}"]).data
    with pytest.raises(SettingError, match=rf"{folder} \(data.root\).*data.download=true"):
        load_dataset("cifar10", root=data.root, download=data.download)


def a_tracker(folder):
    settings, begun = compose(["wandb.mode=offline", "wandb.project=mine"]).wandb, {}
    with pytest.MonkeyPatch.context() as patch:
        wandb = SimpleNamespace(init=lambda **given: begun.update(given) or SimpleNamespace(id="x"))
        patch.setitem(sys.modules, "wandb", wandb)
        Tracker(folder, Progress(), None, settings, {})
    assert (begun["mode"], begun["project"]) == ("offline", "mine")


def another_tracker(folder):
    assert compose(["tracking=none"]).tracking == "none"
    with pytest.raises(SettingError, match=r"tracking=none: wandb\.mode=offline"):
        compose(["tracking=none", "wandb.mode=offline"])


def an_earlier_run_beside(folder):
    again(folder / "r", "method.iterations=1")
    again(folder / "r", "method.iterations=1", "overwrite=true")
    assert list((folder / "r").rglob("*.replaced1"))


def more_checkpoints(folder):
    assert checkpoints(folder / "often", "0") > checkpoints(folder / "seldom", "1e6")


def checkpoints(folder, seconds):
    """How many a run writes."""
    write, written = tensor_files.write_tensors, []

    def counted(path, *more):
        written.append(path.name)
        write(path, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensor_files, "write_tensors", counted)
        again(folder, f"checkpoint_seconds={seconds}")
    return written.count("checkpoint.safetensors")


def a_plan(folder):
    assert compose(["dry_run=true"]).dry_run is True
    assert compose(["dry_run=measure"]).dry_run == "measure"


def prepared(folder):
    assert compose(["prepare=true"]).prepare is True
    for beside in ("dry_run=measure", "overwrite=true"):
        with pytest.raises(SettingError, match=f"prepare=true with {beside}"):
            compose(["prepare=true", beside])


def another_end(folder):
    words = ["method.lr_img=1e30", "method.iterations=20"]
    with pytest.raises(SettingError, match="on_nan=rollback"):
        again(folder / "stop", *words)
    with pytest.raises(SettingError, match=r"rolled back|rollback"):
        again(folder / "back", *words, "on_nan=rollback")


FREE_ACTS = {
    "results_root": differs_in_folder,
    "buffers_root": other_caches,
    "device": another_device,
    "data": other_files,
    "wandb": a_tracker,
    "tracking": another_tracker,
    "overwrite": an_earlier_run_beside,
    "checkpoint_seconds": more_checkpoints,
    "dry_run": a_plan,
    "prepare": prepared,
    "on_nan": another_end,
}


@pytest.mark.parametrize("name", FREE_ACTS)
def test_a_setting_that_is_no_part_of_the_record_acts_otherwise(tmp_path, name):
    FREE_ACTS[name](tmp_path)
