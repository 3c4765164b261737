"""Every command and every block of Python in the README and in docs/ is tried, each as far as ``LEVELS`` says."""

import os
import re
import shlex

import hydra
import pytest
from omegaconf import OmegaConf

import cmidd
from cmidd.bench.benchmark import read_bench
from cmidd.cli import dry_run
from cmidd.cli.compose import as_dict, compose
from cmidd.cli.refusals import CONFIGS, fresh_hydra
from cmidd.cli.words import as_hydra_reads
from tests.support.pages import PAGES, RUN, blocks, commands, stand_ins, words_of
from tests.support.refusals import ROOT, script
from tests.support.runs import TINY, TINY_METHOD

SHORT = [*TINY, "evaluation.repeats=1", "evaluation.baselines=[]"]
RUN_OF_CIFAR = "results/cifar10/dm/ipc10/cmi0/seed0"  # VGG11 takes no images of 8x8.
SET_UP = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e"
FIRST = f"{SET_UP} . && .venv/bin/python scripts/distill.py method=mtt +cmi.lambda=0.1"
TESTS = f"{SET_UP} '.[test]' && .venv/bin/python -m pytest -q -n auto --dist loadfile"

# How far a line is tried:
# run: as it stands, with words added that make it tiny, on the digits or on stand-ins for the files that it names;
# settings: it would take minutes or a file of many images: all its settings are composed and checked;
# sweep: its runs are dealt out as Hydra would; the first and the last are composed, and so is its launcher;
# bench: its settings are read, and tests/unit/bench runs the bench;
# not here: with the reason.
DM, MTT = TINY_METHOD["dm"][1:], TINY_METHOD["mtt"][1:]
LEVELS = {
    FIRST: ("run", MTT),
    TESTS: ("not here", ".ci/run runs it as it is written"),
    f"{SET_UP} .": ("not here", "the start of the line above"),
    "source .venv/bin/activate": ("not here", "of the shell"),
    "cmidd distill method=mtt cmi.lambda=0.1": ("run", MTT),
    "cmidd distill method=dm": ("run", DM),
    "cmidd distill method=dm cmi.lambda=1": ("run", DM),
    "cmidd distill method=dm ipc=1 seed=3": ("run", DM),
    "cmidd distill method=dm dry_run=true": ("run", DM),
    "cmidd distill method=dm overwrite=true": ("run", DM),
    "cmidd distill method=dm cmi.measure=true evaluation.interval=500": ("run", DM),
    "cmidd distill method=mtt dry_run=true": ("run", MTT),
    "cmidd distill method=mtt dry_run=measure": ("run", MTT),
    "cmidd distill method=mtt on_nan=rollback": ("run", MTT),
    "cmidd distill --cfg job": ("run", []),
    "cmidd distill method=dm dataset=cifar10 ipc=10": ("run", DM),
    "cmidd distill method=dm dataset=cifar10 ipc=10 cmi=paper": ("run", [*DM, "cmi.teacher=convnet"]),
    "cmidd distill method=mtt dataset=cifar100 ipc=50 cmi=balanced": ("settings", []),
    "cmidd distill method=idm 'regularizer=[iid,cmi]' sampler=dream": ("run", TINY_METHOD["idm"][1:]),
    "cmidd distill method=dm dataset=cifar10 ipc=10 regularizer=iid": ("run", DM),
    "cmidd distill method=idc dataset=cifar10 ipc=10 sampler=dream": ("settings", []),
    "cmidd distill method=idc dataset=cifar10 ipc=10 schedule=pdd": ("settings", []),
    "cmidd distill method=mtt dataset=cifar10 ipc=50 schedule=seqmatch": ("settings", []),
    "cmidd distill method=dm dataset=folder data.root=~/flowers dataset.size=64 network.depth=4 ipc=5": ("run", DM),
    "cmidd distill method=dm dataset=folder data.root=~/flowers dataset.size=64 network.depth=4 ipc=5 "
    "dataset.validation=0.2": ("run", DM),
    "cmidd distill method=dm dataset=arrays data.root=pathmnist.npz ipc=5": ("run", DM),
    "cmidd distill method=dm dataset=arrays data.root=mine.npz ipc=2": ("run", DM),
    "cmidd buffer method=mtt dataset=cifar10": ("run", MTT),
    "cmidd teachers dataset=cifar10 cmi.pool=200": ("run", ["cmi.teacher=convnet"]),
    "cmidd baselines method=dm dataset=cifar10 'evaluation.baselines=[random,whole]'": ("run", []),
    "cmidd distill +sweep=quick": ("sweep", 12),
    "cmidd distill +sweep=table1 dry_run=true": ("sweep", 216),
    "cmidd distill +sweep=table1 method=dm,idc ipc=10 seed=0": ("sweep", 12),
    "cmidd distill +sweep=table1_fashion": ("sweep", 36),
    "cmidd distill +sweep=staged": ("sweep", 8),
    "cmidd distill -m method=dm cmi.lambda=0,1,10 seed=0,1,2": ("sweep", 9),
    "cmidd distill +sweep=tune_cmi method=dm dataset=cifar10": ("sweep", None),
    "cmidd distill +sweep=table1 +launch=gpus": ("sweep", 216),
    "cmidd distill +sweep=quick +launch=gpus device=cpu hydra.launcher.n_jobs=2": ("sweep", 12),
    "cmidd distill +sweep=table1 +launch=slurm hydra.launcher.partition=gpu": ("sweep", 216),
    "cmidd distill +sweep=quick +launch=local": ("sweep", 12),
    "cmidd distill +sweep=table1 +launch=ray": ("sweep", 216),
    "cmidd distill +sweep=table1 +launch=ray hydra.launcher.ray.init.address=auto": ("sweep", 216),
    "cmidd distill +sweep=quick +launch=ray hydra.launcher.ray.remote.num_gpus=0": ("sweep", 12),
    "cmidd evaluate synthetic=results/digits/dm/ipc10/cmi0/seed0 'network=[convnet,mlp]'": ("run", []),
    "cmidd evaluate synthetic=<run> 'network=[convnet,alexnet,vgg11,resnet18]' repeats=5": ("run", []),
    "cmidd evaluate synthetic=images_best.pt method=mtt dataset=cifar10 zca=true training.lr=0.02": ("run", []),
    "cmidd evaluate synthetic=results/evidence/cifar10_dm_ipc10_cmi0_seed0.safetensors": ("run", []),
    "cmidd evaluate synthetic=results/evidence/cifar10_dm_ipc10_cmi8000_seed0.safetensors": ("run", []),
    "cmidd export <run> pictures": ("run", []),
    "cmidd table": ("run", []),
    "cmidd table table=cifar results_root=results/evidence": ("run", []),
    "cmidd table table=cifar results_root=results/evidence to=cifar": ("run", []),
    "cmidd table table=digits --verify": ("run", []),
    "cmidd figures method=dm dataset=digits": ("run", ["real_per_class=5"]),
    "cmidd report table=digits": ("run", []),
    "cmidd bench": ("bench", 36),
    "cmidd bench 'task=[dm,idc]' 'ipc=[1,10,50]' 'mode=[plain,bf16 compiled]' 'cmi=[0,1]'": ("bench", 24),
    "pip install -c constraints.txt -e '.[parquet]'": ("not here", "the extra is checked below"),
    "pip install -c constraints.txt -e '.[launchers]'": ("not here", "the extra is checked below"),
    "python -m pytest -m heavy tests/behaviour/test_crashes.py": ("not here", "it takes an hour"),
    "python -m pytest -q tests/unit/methods": ("not here", "tests"),
    "ruff check . && ruff format --check . && mypy && lint-imports": ("not here", ".ci/run runs them"),
    "mkdocs serve": ("not here", ".ci/run builds the site"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the lines run, one after the other in the order of the pages."""
    folder = tmp_path_factory.mktemp("place")
    stand_ins(folder)
    return folder


def test_every_line_has_a_level_and_every_level_a_line():
    assert set(commands()) == set(LEVELS)
    assert {level for level, _ in LEVELS.values()} == {"run", "settings", "sweep", "bench", "not here"}


@pytest.mark.parametrize("line", [line for line in commands() if LEVELS.get(line, [""])[0] == "run"])
def test_a_command_runs(line, place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    own = line.rpartition("&& .venv/bin/")[2].replace("<run>", RUN_OF_CIFAR if "vgg11" in line else RUN)
    name, words = words_of(own)
    words = [*words, *tiny(name, words), *LEVELS[line][1]]
    code, out, err = script(name, *words, cwd=place)
    assert code == 0, f"{out[-2000:]}\n{err[-2000:]}"


def tiny(name, words):
    """What makes a command fast."""
    if name == "evaluate":
        return ["training.epochs=1", "repeats=1"]
    if name == "distill" and "--cfg" not in words:
        return SHORT
    return {"buffer": SHORT, "teachers": TINY, "baselines": TINY}.get(name, [])


@pytest.mark.parametrize("line", [line for line in LEVELS if LEVELS[line][0] == "settings"])
def test_the_settings_of_a_command_are_sound(line):
    name, words = words_of(line)
    assert name == "distill"
    settings = compose(words)
    assert f"ipc={settings.ipc}" in words


@pytest.mark.parametrize("line", [line for line in LEVELS if LEVELS[line][0] == "sweep"])
def test_a_sweep_has_its_runs(line):
    name, words = words_of(line)
    assert name == "distill"
    words = as_hydra_reads(words)
    of_hydra = [word for word in words if word.startswith(("+sweep=", "+launch=", "hydra", "device="))]
    with fresh_hydra():
        config = hydra.compose("distill", of_hydra, return_hydra_config=True)
        launcher = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    assert ("+launch" in line) == ("Basic" not in launcher["_target_"])
    if LEVELS[line][1] is None:
        assert config.hydra.sweeper["_target_"].endswith("OptunaSweeper")
        return
    runs = dry_run._runs([word for word in words if not word.startswith(("+launch=", "hydra."))])
    assert len(runs) == LEVELS[line][1]
    for run in (runs[0], runs[-1]):
        compose(run)


@pytest.mark.parametrize("line", [line for line in LEVELS if LEVELS[line][0] == "bench"])
def test_a_bench_has_its_cells(line):
    name, words = words_of(line)
    assert name == "bench"
    with fresh_hydra(CONFIGS / "command"):
        settings = read_bench(as_dict(hydra.compose("bench", words)))
    cells = [settings.task, settings.dataset, settings.ipc, settings.image_size, settings.cmi, settings.mode]
    count = 1
    for values in cells:
        count *= len(values)
    assert count == LEVELS[line][1]


@pytest.mark.parametrize("page", blocks("python"))
def test_the_python_of_a_page_runs(page, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    text = "\n".join(blocks("python")[page])
    compile(text, page, "exec")
    if re.search(r"cmidd\.(distill|evaluate|load_dataset)\(", text) and not hasattr(cmidd, "distill"):
        pytest.skip("no cmidd.distill yet")
    names = {}
    exec(compile(text, page, "exec"), names)
    if "prediction" in names:
        assert names["prediction"].shape == (1,)
    if "run" in names:
        assert len(names["run"].accuracies) == 1
        assert str(names["run"].accuracies) in capsys.readouterr().out


def test_the_table_of_settings_is_that_of_the_configs():
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    listed = {name: values for names, values in rows for name in re.findall(r"`([a-z_.]+)`", names)}
    for group in ("method", "dataset", "sampler", "schedule", "network"):
        found = set(re.findall(r"`(\w+)`", listed[group]))
        assert found == {path.stem for path in (CONFIGS / group).glob("*.yaml")}, group
    with fresh_hydra():
        config = hydra.compose("distill", ["evaluation.baselines=[]"])
    assert len(listed) > 30
    for name in listed.keys() - {"recipe", "regularizer"}:
        assert OmegaConf.select(config, name, default=config) is not config, name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    missing = [link for link in links if link and not (path.parent / link).exists()]
    assert not missing
