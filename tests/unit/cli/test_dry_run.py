"""A dry run says what would be done, what is there and how long it takes, or that nothing tells; it touches nothing."""

import json
import re

import pytest

from cmidd.cli import dry_run
from cmidd.cli.compose import compose
from cmidd.cli.sweep_runs import Composer, runs_of
from cmidd.runs.beforehand import Timed
from cmidd.runs.costs import costs
from cmidd.runs.plan import Plan, at_measured, plan
from cmidd.runs.record import read_record
from cmidd.utils.errors import SettingError
from tests.support.refusals import bytes_of, script, script_refused
from tests.support.runs import TINY, TINY_METHOD

DM = [*TINY, *TINY_METHOD["dm"], "evaluation.baselines=[]"]
MTT = [*TINY, *TINY_METHOD["mtt"], "cmi.lambda=1"]
TABLE1 = ["+sweep=table1", "+launch=slurm", "hydra.launcher.mem_gb=1", "dry_run=true", "prepare=false"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder where one run of DM is finished, and the experts of MTT are made."""
    folder = tmp_path_factory.mktemp("place")
    assert script("distill", *DM, cwd=folder)[0] == 0
    assert script("buffer", *MTT, cwd=folder)[0] == 0
    return folder


def lines_of(place, *words):
    """What a dry run prints, after it was seen to change nothing."""
    before = bytes_of(place)
    code, out, err = script("distill", *words, cwd=place)
    assert bytes_of(place) == before
    return code, out.splitlines(), err


def test_a_single_run_is_told_part_by_part_and_what_is_unknown_is_said_so(place):
    code, lines, _ = lines_of(place, *MTT, "dry_run=true")
    assert code == 0
    said = {line.split()[0]: line for line in lines if line.startswith("  ")}
    assert "to do: results/digits/mtt/ipc10/cmi1/seed0" in lines
    assert "2 of 2 there, buffers/experts/digits_" in said["experts"]
    assert "unknown" not in said["experts"]
    assert "0 of 1 there" in said["teachers"]
    assert "[unknown]" in said["teachers"]
    assert "4 of 4 iterations  [unknown]" in said["distillation"]
    assert "of teachers, baseline, distillation, evaluation nothing is on record; dry_run=measure" in said["in"]


def test_measured_steps_give_a_time_for_every_part(place):
    _, lines, _ = lines_of(place, *MTT, "dry_run=measure")
    parts = [line for line in lines if line.startswith("  ")]
    assert len(parts) == 8
    assert not any("unknown" in part for part in parts)
    assert re.search(r"^  in all +\d", parts[-1])


def test_the_teachers_of_every_term_are_counted(place):
    words = [*DM, "seed=8", "regularizer=iid", "cmi.teacher=mlp", "cmi.pool=1", "cmi.epochs=1"]
    assert script("teachers", *words, cwd=place)[0] == 0
    _, lines, _ = lines_of(place, *words, "cmi.lambda=1", "dry_run=true")
    said = [line.split(maxsplit=1)[1] for line in lines if line.startswith("  teachers")]
    assert len(said) == 2
    assert said[0].startswith("0 of 1 there, 1 to train for 1 epochs each")
    assert re.search(r" \(beside it digits_mlp_[0-9a-f]{12}, made with training.weight_decay=0.0005\) ", said[0])
    assert said[1].startswith("1 of 1 there, buffers/teachers/digits_mlp_")
    (described,) = place.glob(f"{re.search('buffers/teachers/[a-z0-9_]+', said[1])[0]}/settings.json")
    described.write_text("{")
    _, lines, _ = lines_of(place, *DM, "seed=8", "cmi.lambda=1", "cmi.teacher=mlp", "cmi.epochs=1", "dry_run=true")
    assert not any("beside it" in line for line in lines)  # It is damaged, which is nothing to this run.
    described.unlink()
    _, lines, _ = lines_of(place, *words, "cmi.lambda=1", "iid.teacher_weight_decay=0.001", "dry_run=true")
    assert sum(line.startswith("  teachers") for line in lines) == 1


STAGES = ["seed=9", "schedule=seqmatch", "schedule.stages=2", "schedule.warm_epochs=null", "ipc=2"]


def test_the_experts_of_later_stages_are_counted_and_evaluations_train_on_every_stage(place):
    _, lines, _ = lines_of(place, *MTT, *STAGES, "evaluation.interval=3", "evaluation.baselines=[]", "dry_run=measure")
    said = [line.split(maxsplit=1)[1] for line in lines if line.startswith("  experts")]
    assert said[1].startswith("of stage 2: 2 to train, each stage's when it begins  [")
    assert "unknown" not in said[1]
    (evaluated,) = [line for line in lines if line.startswith("  evaluation")]
    assert "3 times 2 networks" in evaluated  # after 3 of 4 iterations in each stage, and after the last
    settings = compose([*MTT, *STAGES, "evaluation.interval=3"])
    timed = Timed(iteration=100.0, evaluation=1.0, whole=0.0, expert=10.0, teacher=0.0, features=0.0)
    seconds_left = at_measured(settings, Plan("to do", None), timed).seconds_left
    assert seconds_left == 8 * 100 + 2 * (1 + 2 + 2) + 2 * (10 + 1)
    of_dm = compose([*DM, *STAGES, "evaluation.interval=3", "schedule.pool=5"])
    assert at_measured(of_dm, Plan("to do", None), timed).seconds_left == 8 * 100 + 2 * (1 + 2 + 2) + 5 * 1


def test_the_networks_that_chosen_baselines_need_are_a_part_and_have_a_time(place):
    words = ["evaluation.baselines=[random,herding,kcenter]", "evaluation.features.networks=2", "seed=2"]
    _, lines, _ = lines_of(place, *DM, *words, "dry_run=measure")
    said = [line.split(maxsplit=1)[1] for line in lines if line.startswith("  baseline")]
    of_networks = "networks for features, 0 of 2 there, 2 to train for 20 epochs each, into buffers/baselines/features/"
    assert said[0].startswith(of_networks)
    assert "unknown" not in said[0]
    assert [line.split(",")[0] for line in said[1:]] == ["random", "herding", "kcenter"]
    _, lines, _ = lines_of(place, *DM, "seed=2", "evaluation.baselines=[random]", "dry_run=true")
    assert sum(line.startswith("  baseline") for line in lines) == 1


def test_a_finished_run_is_done_and_its_like_takes_as_long_as_it_did(place):
    assert lines_of(place, *DM, "dry_run=true")[1][-2:] == [
        "done: results/digits/dm/ipc10/cmi0/seed0",
        "  in all        0 s",
    ]
    code, lines, _ = lines_of(place, *DM, "dry_run=true", "evaluation.baselines=[random]", "cmi.measure=true")
    assert (code, lines[-3]) == (0, "done, but for: baselines, CMI of the last set: results/digits/dm/ipc10/cmi0/seed0")
    _, lines, _ = lines_of(place, *DM, "seed=1", "dry_run=true")
    assert re.search(r"4 of 4 iterations  \[\d+ s\]", "\n".join(lines))


def test_more_evaluations_than_a_run_on_record_had_take_longer_than_its_did(place):
    once, often = (
        plan(compose([*DM, "seed=1", f"results_root={place}/results", *words]))
        for words in ([], ["evaluation.interval=1", "evaluation.repeats=6", "evaluation.training.epochs=20"])
    )
    record = read_record(place / "results" / "digits" / "dm" / "ipc10" / "cmi0" / "seed0" / "result.json")
    of_once = record.evaluation_seconds
    assert once.seconds_left == pytest.approx(record.seconds + of_once)
    assert often.seconds_left == pytest.approx(record.seconds + of_once * 4 * 3 * 10)


@pytest.mark.parametrize("evaluation", [None, "dm", {"training": None}, {"training": {"epochs": "300"}}])
def test_a_record_that_does_not_say_how_it_was_evaluated_stops_no_dry_run(place, tmp_path, evaluation):
    record = json.loads((place / "results/digits/dm/ipc10/cmi0/seed0/result.json").read_text())
    record["settings"]["evaluation"] = evaluation
    (tmp_path / "result.json").write_text(json.dumps(record))
    ((_, of_an_epoch),) = costs(tmp_path).values()
    assert of_an_epoch == 0


def test_a_sweep_has_a_line_for_every_run_and_what_would_be_refused_is_among_them(place):
    words = [*DM, "-m", "seed=0,1", "ipc=10,500,x", "+launch=gpus", "dry_run=true"]
    code, lines, _ = lines_of(place, *words)
    assert code == 1
    runs = [line for line in lines if "seed=" in line]
    assert len(runs) == 6
    assert sum(line.startswith("done ") for line in runs) == 1
    (left,) = [line for line in runs if line.startswith("to do ") and "unknown" not in line]
    assert "seed=1" in left
    assert "ipc=10" in left
    assert sum(line.startswith("refused ") and "ipc=x" in line for line in runs) == 2
    assert "1 of 6 runs done; 1 take" in lines[-1]
    assert "2 refused" in lines[-1]


def test_a_sweep_is_measured_where_nothing_is_on_record(place):
    words = [*DM, *TINY_METHOD["dc"], "-m", "seed=5,6"]
    _, lines, _ = lines_of(place, *words, "dry_run=measure")
    assert not any("unknown" in line for line in lines)
    assert lines[-1].endswith(". Of what runs share (experts, teachers, baselines) all is there.")
    assert lines_of(place, *words, "dry_run=true")[1][-1].endswith("is not counted; dry_run=measure counts it.")


def test_what_the_runs_of_a_sweep_share_is_counted_once(place, capsys, monkeypatch):
    timed = Timed(iteration=0.0, evaluation=60.0, whole=0.0, expert=0.0, teacher=3600.0, features=0.0)
    monkeypatch.setattr(dry_run, "_timed", lambda settings, context: timed)
    monkeypatch.chdir(place)
    words = ["cmi.lambda=1", "cmi.epochs=2", "evaluation.baselines=[random]", "ipc=3"]
    root = "results_root=results/pool${cmi.pool}"
    dry_run.show_sweep([*DM, *words, "-m", "seed=5,6", "cmi.pool=2,3", root, "dry_run=measure"], "measure")
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.endswith("What runs share takes 3.0 h beside, once (teachers 3.0 h, baseline 2 min).")


def test_a_weight_that_is_measured_in_the_run_does_not_stop_the_timing(place):
    words = [*DM, "seed=7", "cmi=balanced", "cmi.teacher=mlp", "cmi.pool=1", "cmi.epochs=1", "dry_run=measure"]
    code, lines, _ = lines_of(place, *words)
    assert code == 0
    assert "unknown" not in "\n".join(lines)


def test_the_whole_table_is_dealt_out_as_hydra_would_deal_it():
    words = [word for word in runs_of([*TABLE1, "seed=3,4"], "dry_run=true") if "method=mtt" in word]
    assert len(words) == 3 * 2 * 2 * 2
    assert sorted(words[0]) == ["cmi=none", "dataset=svhn", "ipc=10", "method=mtt", "seed=3"]


def test_runs_that_differ_in_the_seed_are_the_same_as_composed_one_by_one():
    composer = Composer()
    for seed in ("0", "7"):
        words = ["method=dm", f"seed={seed}", "cmi=recipe"]
        assert composer(words) == compose(words)
    assert len(composer._composed) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["seed=1", "results_root=runs/${seed}"],
        ["seed=2", "+seed=3"],
        ["seed=99999999999999999999"],
        ["seed=-1"],
    ],
)
def test_a_seed_that_others_refer_to_or_that_is_wrong_is_not_put_in_unseen(words):
    def outcome(how):
        try:
            return how(["method=dm", *words])
        except SettingError as error:
            return str(error)

    assert outcome(Composer()) == outcome(compose)


def test_a_recipe_that_there_is_not_is_refused_in_a_sweep_too():
    with pytest.raises(SettingError, match=r"^recipe=typo: unknown; choose one of"):
        Composer()(["method=dm", "seed=1", "recipe=typo"])


def test_a_sweep_whose_runs_would_share_a_folder_is_refused_before_any_of_them(tmp_path):
    words = [*DM, "-m", "method.lr_img=1,10"]
    two, root = [*words, "network.depth=1,2"], "results_root=results/lr_img${method.lr_img}"
    code, lines, _ = lines_of(tmp_path, *two, "dry_run=true")
    assert (code, [line.split()[0] for line in lines if "depth=" in line and line[0] != " "]) == (
        1,
        ["to", "refused", "refused", "refused"],
    )
    assert f"folder results/digits/dm/ipc10/cmi0/seed0; give each its own: '{root}_depth${{network.depth}}'" in lines[3]
    script_refused("sweep", "distill", two, tmp_path, "network.depth=2", f"'{root}_depth${{network.depth}}'")
    script_refused("sweep", "distill", [*DM, "-m", "evaluation=dm,dc"], tmp_path, "give each another results_root")
    assert lines_of(tmp_path, *DM, "-m", "engine.compile=true,false", "dry_run=true")[0] == 0  # The same run twice.
    code, lines, _ = lines_of(tmp_path, *words, root, "dry_run=true")
    assert (code, sum(line.startswith("to do") for line in lines)) == (0, 2)
    code, out, err = script("distill", *words, root, cwd=tmp_path)
    assert code == 0, err
    assert {path.parts[-7] for path in tmp_path.rglob("DONE")} == {"lr_img1", "lr_img10"}
    assert "results_root" not in out.splitlines()[-1]  # Both lie in results, which tables read by themselves.


def test_the_journal_of_a_sweep_needs_nothing_that_only_its_runs_have(tmp_path):
    """MTT, the method where none is typed, has no batch_real."""
    words = [*TINY, "method.iterations=4", "evaluation.baselines=[]", "method=choice(dm)", "method.batch_real=8,9"]
    code, out, err = script("distill", "-m", *words, "results_root=results/${method.batch_real}", cwd=tmp_path)
    assert code == 0, err
    assert "2 runs: 2 done" in out
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_published_weight_is_that_of_the_recipe_with_other_teachers(tmp_path):
    words = ["method=dm", "dataset=cifar10", "-m", "cmi=paper,recipe"]
    script_refused("sweep", "distill", words, tmp_path, "cmi=recipe: another run than cmi=paper", "start them apart")


def test_a_sweeper_that_chooses_its_runs_is_refused():
    pytest.importorskip("optuna")
    with pytest.raises(SettingError, match="dry_run=true: OptunaSweeper chooses each run"):
        runs_of(["+sweep=tune_cmi", "dry_run=true"], "dry_run=true")


@pytest.mark.parametrize("name", ["teachers", "buffer", "baselines"])
def test_a_command_without_a_dry_run_says_so(tmp_path, name):
    code, _, err = script(name, "dry_run=true", cwd=tmp_path)
    assert code == 2
    assert "only distill.py has a dry run; leave it out" in err


def test_what_is_no_record_below_the_results_does_not_stop_a_dry_run(tmp_path, caplog):
    for name in ("results/other_tool/result.json", "results/more/result.json", "results/bench_of_others.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    code, lines, _ = lines_of(tmp_path, *DM, "-m", "seed=0,1", "dry_run=true")
    assert (code, sum(line.startswith("to do") for line in lines)) == (0, 2)
    (said,) = caplog.messages
    assert re.fullmatch(r"not counted in how long runs take: .*json: .* \(and 2 more\)", said)
