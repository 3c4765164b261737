"""Every command and every block of Python in the README and in docs/ is tried, each as far as ``LEVELS`` says."""

import re
import tomllib

import hydra
import pytest
from omegaconf import OmegaConf

import cmidd
from cmidd.bench.benchmark import read_bench
from cmidd.cli.compose import as_dict, compose
from cmidd.cli.refusals import CONFIGS, fresh_hydra
from cmidd.cli.sweep_runs import runs_of
from cmidd.cli.words import as_hydra_reads
from cmidd.data.image_files import IMAGE_SUFFIXES
from cmidd.data.layouts import understand
from tests.support.pages import FIRST, PAGES, RUN, SET_UP, TESTS, blocks, command, commands, grown, stand_ins, words_of
from tests.support.refusals import ROOT
from tests.support.runs import TINY, TINY_METHOD

SHORT = [*TINY, "evaluation.repeats=1", "evaluation.baselines=[]", "engine.compile=false"]
RUN_OF_CIFAR = "results/cifar10/dm/ipc10/cmi0/seed0"  # VGG11 takes no images of 8x8.

# How far a line is tried:
# run: as it stands, with words added that make it tiny, on the digits or on stand-ins for the files that it names;
# ci: likewise, in .ci/run alone, for it takes longer;
# settings: it would take minutes or a file of many images: all its settings are composed and checked;
# sweep: its runs are dealt out as Hydra would, and the last is composed; or its sweeper or launcher is;
# bench: its settings are read, and tests/unit/bench runs the bench;
# not here: with the reason.
DM, MTT = TINY_METHOD["dm"][1:], TINY_METHOD["mtt"][1:]
OWN = [*DM, "results_root=own"]  # Apart from what `cmidd table --verify` evaluates again with one data.root.
OPTUNA = "sweeper", "OptunaSweeper"
JOBLIB, SLURM, LOCAL, RAY = (("launcher", f"{name}Launcher") for name in ("Joblib", "Slurm", "Local", "Ray"))
LEVELS = {
    FIRST: ("run", MTT),
    TESTS: ("not here", ".ci/run runs it as it is written"),
    f"{SET_UP} .": ("not here", "the start of the line above"),
    "source .venv/bin/activate": ("not here", "of the shell"),
    "cmidd distill method=mtt cmi.lambda=0.1": ("run", MTT),
    "cmidd distill method=dm": ("run", DM),
    "cmidd distill method=dm cmi.lambda=1": ("run", DM),
    "cmidd distill method=dm ipc=1 seed=3": ("run", DM),
    "cmidd distill method=idc dry_run=measure": ("run", TINY_METHOD["idc"][1:]),
    "cmidd distill method=dm overwrite=true": ("run", DM),
    "cmidd distill method=dm cmi.measure=true evaluation.interval=500": ("run", DM),
    "cmidd distill method=dm tracking=tensorboard": ("run", [*DM, "seed=4"]),
    "cmidd distill method=dm wandb.mode=offline": ("settings", []),
    "cmidd distill method=dm method.iterations=5 results_root=on_cpu device=cpu": ("settings", []),
    "cmidd distill method=dm method.iterations=5 results_root=on_mac device=mps": ("settings", []),
    "cmidd distill method=mtt dry_run=true": ("run", MTT),
    "cmidd distill method=mtt dry_run=measure": ("run", MTT),
    "cmidd distill method=mtt on_nan=rollback": ("run", MTT),
    "cmidd distill --cfg job": ("run", []),
    "cmidd distill --help": ("run", []),
    "cmidd --version": ("run", []),
    'eval "$(cmidd completion bash)"': ("not here", "tests of the command's completion"),
    "cmidd distill method=dm dataset=cifar10 ipc=10": ("run", DM),
    "cmidd distill method=dm dataset=cifar10 ipc=10 cmi=paper": ("run", [*DM, "cmi.teacher=convnet"]),
    "cmidd distill method=mtt dataset=cifar100 ipc=50 cmi=balanced": ("settings", []),
    "cmidd distill method=idm 'regularizer=[iid,cmi]' sampler=dream": ("run", TINY_METHOD["idm"][1:]),
    "cmidd distill method=dm dataset=cifar10 ipc=10 regularizer=iid": ("run", [*DM, "cmi.teacher=convnet"]),
    "cmidd distill method=idc dataset=cifar10 ipc=10 sampler=dream": ("settings", []),
    "cmidd distill method=idc dataset=cifar10 ipc=10 schedule=pdd": ("settings", []),
    "cmidd distill method=mtt dataset=cifar10 ipc=50 schedule=seqmatch": ("settings", []),
    "cmidd distill method=dm dataset=folder data.root=~/flowers dataset.size=64 network.depth=4 ipc=5": ("run", OWN),
    "cmidd distill method=dm dataset=folder data.root=~/flowers dataset.size=64 network.depth=4 ipc=5 "
    "dataset.validation=0.2 results_root=results/tuning": ("run", DM),
    "cmidd distill method=dm dataset=folder data.root=~/flowers dataset.size=64 dataset.fit=squash network.depth=4 "
    "ipc=5": ("run", [*DM, "results_root=squashed"]),
    "cmidd distill method=dm dataset=arrays data.root=pathmnist.npz ipc=5": ("run", OWN),
    "cmidd distill method=dm dataset=arrays data.root=mine.npz ipc=2": ("run", OWN),
    "cmidd buffer method=mtt dataset=cifar10": ("run", [*MTT, "dataset.zca=false"]),
    "cmidd teachers method=dm dataset=cifar10 cmi.pool=200": ("run", ["cmi.teacher=convnet", "dataset.zca=false"]),
    "cmidd baselines method=dm dataset=cifar10 'evaluation.baselines=[random,whole]'": ("run", []),
    "cmidd baselines method=dc dataset=cifar10 'evaluation.baselines=[random,herding,kcenter,forgetting,kmeans]'": (
        "run",
        ["evaluation.features.epochs=1", "ipc=1"],
    ),
    "cmidd distill method=datm": ("settings", []),
    "cmidd distill method=ncfm cmi=recipe": ("settings", []),
    "cmidd distill method=datm dataset=cifar10 ipc=1 dry_run=true": ("settings", []),
    "cmidd distill +sweep=frontier dry_run=true": ("sweep", 72),
    "cmidd distill +sweep=quick": ("sweep", 12),
    "cmidd distill +sweep=table1 dry_run=true": ("sweep", 216),
    "cmidd distill +sweep=table1 prepare=true": ("sweep", 216),
    "cmidd distill +sweep=table1 +launch=gpus prepare=true": ("sweep", JOBLIB),
    "cmidd distill method=mtt dataset=cifar10 prepare=true": ("settings", []),
    "made=$(sbatch --parsable --array=1-8 --gpus=1 --wrap='cmidd distill +sweep=table1 prepare=true')": (
        "not here",
        "tests/behaviour/test_clusters.py has Slurm do it",
    ),
    "cmidd distill +sweep=table1 +launch=slurm +hydra.launcher.additional_parameters.dependency=afterok:$made": (
        "sweep",
        SLURM,
    ),
    "cmidd distill +sweep=table1 method=dm,idc ipc=10 seed=0": ("sweep", 12),
    "cmidd distill +sweep=dream dataset=svhn,cifar10,cifar100 ipc=10,50 cmi=none": ("sweep", 6),
    "cmidd distill +sweep=table1_fashion": ("sweep", 36),
    "cmidd distill +sweep=staged": ("sweep", 8),
    "cmidd distill -m method=dm cmi.lambda=0,1,10 seed=0,1,2": ("sweep", 9),
    "cmidd distill -m method=dm method.lr_img=1,10 'results_root=results/lr${method.lr_img}'": ("sweep", 2),
    "cmidd distill +sweep=tune_cmi method=dm dataset=cifar10": ("sweep", OPTUNA),
    "cmidd distill +sweep=table1 +launch=gpus": ("sweep", JOBLIB),
    "cmidd distill +sweep=quick +launch=gpus device=cpu hydra.launcher.n_jobs=2": (
        "sweep",
        JOBLIB,
    ),
    "cmidd distill +sweep=table1 +launch=slurm hydra.launcher.partition=gpu": ("sweep", SLURM),
    "cmidd distill +sweep=quick +launch=local": ("sweep", LOCAL),
    "cmidd distill +sweep=table1 +launch=ray": ("sweep", RAY),
    "cmidd distill +sweep=table1 +launch=ray hydra.launcher.ray.init.address=auto": (
        "sweep",
        RAY,
    ),
    "cmidd distill +sweep=quick +launch=ray hydra.launcher.ray.remote.num_gpus=0": (
        "sweep",
        RAY,
    ),
    "cmidd evaluate synthetic=results/digits/dm/ipc10/cmi0/seed0 'networks=[convnet,mlp]'": ("run", []),
    "cmidd evaluate synthetic=<run> 'networks=[convnet,alexnet,vgg11,resnet18]'": ("ci", []),
    "cmidd evaluate synthetic=<run> evaluation=dsa evaluation.tests=10 evaluation.selection=held_out": (
        "run",
        ["evaluation.tests=2"],
    ),
    "cmidd evaluate synthetic=images_best.pt method=mtt dataset=cifar10 dataset.zca=true evaluation.training.lr=0.02": (
        "ci",
        [],
    ),
    "cmidd evaluate 'synthetic=[results/evidence/cifar10_dm_ipc10_cmi0_seed0.safetensors,results/evidence/"
    "cifar10_dm_ipc10_cmi8000_seed0.safetensors]' to=with_and_without": ("ci", []),
    "cmidd evaluate synthetic=results/evidence/cifar10_dm_ipc10_cmi0_seed0.safetensors": ("run", []),
    "cmidd evaluate synthetic=results/evidence/cifar10_dm_ipc10_cmi8000_seed0.safetensors": ("run", []),
    "cmidd evaluate synthetic=<run> scores=true scores_real=97.5": ("run", []),
    "cmidd export <run> pictures": ("run", []),
    "cmidd export <run> tensors format=mtt": ("run", []),
    "cmidd table": ("run", []),
    "cmidd table table=cifar results_root=results/evidence": ("run", []),
    "cmidd table table=cifar results_root=results/evidence to=cifar": ("run", []),
    "cmidd table table=digits --verify": ("run", []),
    "cmidd table table=baselines": ("run", []),
    "cmidd table table=baselines results_root=results/evidence": ("run", []),
    "cmidd table table=scores": ("run", []),
    "cmidd compare a=dm:cifar10:10:0 b=dm:cifar10:10:8000 results_root=results/evidence": ("run", []),
    "cmidd figures method=dm dataset=digits": ("ci", ["real_per_class=5"]),
    "cmidd figures method=dm dataset=digits movie=true": ("not here", "unit/analysis/test_figures.py draws it"),
    "cmidd distill -m method=dm cmi.ratio=0.1,0.3,1 evaluation.interval=500": ("sweep", 3),
    "cmidd report table=digits": ("run", []),
    "cmidd bench": ("bench", 36),
    "cmidd bench 'task=[dm,idc]' 'ipc=[1,10,50]' 'mode=[float32,bf16 compiled]' 'cmi=[0,1]'": ("bench", 24),
    "pip install -c constraints.txt -e '.[parquet]'": ("not here", "the extra is checked below"),
    "pip install -c constraints.txt -e '.[launchers]'": ("not here", "the extra is checked below"),
    "pip install -c constraints.txt -e '.[tensorboard]'": ("not here", "the extra is checked below"),
    "python -m pytest -m heavy tests/behaviour/test_crashes.py": ("not here", "it takes an hour"),
    "python -m pytest -q tests/unit/methods": ("not here", "tests"),
    "ruff check . && ruff format --check . && mypy && lint-imports": ("not here", ".ci/run runs them"),
    "mkdocs serve": ("not here", ".ci/run builds the site"),
}


def at(level, lines):
    return [line for line in lines if LEVELS.get(line, [None])[0] == level]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the lines run, one after the other in the order of the pages."""
    folder = tmp_path_factory.mktemp("place")
    stand_ins(folder)
    return folder


def test_every_line_has_a_level_and_every_level_a_line():
    assert set(commands()) == set(LEVELS)
    assert {level for level, _ in LEVELS.values()} == {"run", "ci", "settings", "sweep", "bench", "not here"}


@pytest.mark.parametrize("page", blocks("python"))
def test_the_python_of_a_page_runs(page, place, monkeypatch, capsys):
    """As it stands, but that ``cmidd.distill`` and ``cmidd.evaluate`` are given words that make them short."""
    text = "\n".join(blocks("python")[page])
    distill, evaluate = cmidd.distill, cmidd.evaluate
    monkeypatch.setattr(cmidd, "distill", lambda *words, **given: distill(*words, *SHORT, *DM, **given))
    monkeypatch.setattr(cmidd, "evaluate", lambda of, **given: evaluate(of, "training.epochs=1", **given))
    monkeypatch.chdir(place)
    names = {}
    exec(compile(text, page, "exec"), names)
    if "prediction" in names:
        assert names["prediction"].shape == (1,)
    if "run" in names:
        assert len(names["run"].accuracies) == 1
        assert str(names["run"].accuracies) in capsys.readouterr().out


@pytest.mark.parametrize("line", at("run", commands()))
def test_a_command_runs(line, place, monkeypatch):
    run_it(line, place, monkeypatch)


@pytest.fixture(scope="module")
def place_of_runs(place):
    """The folder with runs of DM on two data sets, without and with CMI."""
    with pytest.MonkeyPatch.context() as patch:
        for more in ("", " cmi.lambda=1", " dataset=cifar10 ipc=10"):
            run_it(f"cmidd distill method=dm{more}", place, patch)
    return place


@pytest.mark.ci
@pytest.mark.parametrize("line", at("ci", commands()))
def test_a_command_that_takes_longer_runs(line, place_of_runs, monkeypatch):
    run_it(line, place_of_runs, monkeypatch)


def run_it(line, place, monkeypatch):
    if "tensorboard" in line:
        pytest.importorskip("tensorboard")
    monkeypatch.setenv("HOME", str(place))
    own = line.rpartition("&& .venv/bin/")[2].replace("<run>", RUN_OF_CIFAR if "vgg11" in line else RUN)
    name, words = words_of(own)
    code, out, err = command(name, *words, *tiny(name, words), *LEVELS[line][1], cwd=place)
    assert code == 0, f"{line}\n{out[-2000:]}\n{err[-2000:]}"


def tiny(name, words):
    """What makes a command fast."""
    if name == "evaluate":
        return ["training.epochs=1", "repeats=1"]
    runs = name in ("distill", "buffer", "teachers", "baselines") and not any(word[:2] == "--" for word in words)
    return [] if not runs else [*TINY, "engine.compile=false"] if name == "baselines" else SHORT


@pytest.mark.parametrize("tree", [block for block in blocks("text")["own_data.md"] if ":" not in block.splitlines()[0]])
def test_a_layout_that_is_drawn_is_understood(tree, tmp_path):
    files = grown(tree, tmp_path)
    layout = understand(files[0], f"data.root={files[0]}")
    unlabelled = ("test_", "ILSVRC2012_test_")
    pictures = {path for path in files if path.suffix.lower() in IMAGE_SUFFIXES}
    labelled = {path for path in pictures if not path.name.startswith(unlabelled)}
    assert {path for split in layout.splits.values() for path, _ in split} == labelled
    assert len(layout.classes) == 2


@pytest.mark.parametrize("line", at("settings", LEVELS))
def test_the_settings_of_a_command_are_sound(line):
    name, words = words_of(line)
    assert name == "distill"
    settings = compose(words)
    assert settings.method["name"] in words[0]


@pytest.mark.parametrize("line", at("sweep", LEVELS))
def test_a_sweep_has_its_runs(line):
    name, words = words_of(line)
    assert name == "distill"
    words, count = as_hydra_reads(words), LEVELS[line][1]
    if isinstance(count, int):
        runs = runs_of(words, "dry_run=true")
        assert len(runs) == count
        compose(runs[-1])
        return
    with fresh_hydra():
        config = hydra.compose("distill", words, return_hydra_config=True)
    launching = OmegaConf.to_container(config.hydra[count[0]], resolve=True)
    assert launching["_target_"].endswith(count[1])


@pytest.mark.parametrize("line", at("bench", LEVELS))
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


def test_the_extras_of_the_pages_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = {name for line in commands() for name in re.findall(r"'\.\[(\w+)\]'", line)}
    assert asked >= {"test", "parquet", "launchers"}
    assert asked <= extras.keys()


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


def test_no_source_is_a_page_that_is_not_here():
    files = [path for room in ("cmidd", "configs", "scripts", "tests", "tools") for path in (ROOT / room).rglob("*")]
    named = re.compile(r"\b(\w+\.md),?(?:[\s#]+sections?)?[\s#]+\d")
    found = {
        (path.relative_to(ROOT).as_posix(), page)
        for path in files
        if path.suffix in (".py", ".yaml", ".sh") and path.stem != "test_docs"
        for page in named.findall(path.read_text())
    }
    assert found == set()
