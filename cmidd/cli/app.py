"""Scripts as Hydra applications: one-line errors, sweeps, and the run folder's ``.hydra`` and log."""

import contextlib
import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException
from tqdm.contrib.logging import logging_redirect_tqdm

from cmidd.cli import journal
from cmidd.cli.compose import as_dict, compose, notes, say_notes
from cmidd.cli.journal import Journal
from cmidd.cli.refusals import CONFIGS, one_line
from cmidd.cli.run_log import RunLog, run_log
from cmidd.cli.words import as_hydra_reads, as_typed, quoted
from cmidd.runs.identity import BY_ITSELF, REPEATED, identity_differences
from cmidd.utils import files
from cmidd.utils.errors import SettingError
from cmidd.utils.interruption import Stopped, stopping_in_order
from cmidd.utils.nested import differences

if TYPE_CHECKING:
    from cmidd.runs.settings import Settings

log = logging.getLogger(__name__)

Admitted = Callable[[Path], dict[str, Any]]
# What the user or the machine is to blame for: one line, no traceback.
USER_ERRORS = (SettingError, OmegaConfBaseException, OSError)
Main = Callable[["Settings", Admitted], Any]


def app(main: Main, config_name: str = "distill", *, plans: bool = False) -> None:
    """Run ``main(settings, admitted)`` on the settings of ``configs/<config_name>.yaml``.

    Args:
        plans: whether the command has a dry run.
    """

    def work(config: DictConfig) -> Any:
        from cmidd.runs.read_settings import read_settings

        notes.clear()
        settings = read_settings(as_dict(config))
        if settings.dry_run and not plans:
            raise SettingError(f"dry_run={settings.dry_run}: only distill.py has a dry run; leave it out")
        with run_log("/".join(settings.folder.parts[-5:])) as said:
            _check_recipe()
            say_notes()
            return main(settings, lambda folder: _admitted(folder, config, settings, said))

    _run_hydra(work, CONFIGS, config_name)


def hydra_app(main: Callable[[dict[str, Any]], Any], config_name: str, words: list[str] | None = None) -> None:
    """Run ``main(config)`` on ``configs/command/<config_name>.yaml``, whose folder has no groups of the same names, so
    that ``network=[a,b]`` is a list.

    Args:
        words: of the command line, where they are not the process's own.
    """
    _run_hydra(lambda config: main(as_dict(config)), CONFIGS / "command", config_name, words)


class SweepJournal(Callback):
    """Tells every process of a sweep where its journal is (``hydra.callbacks`` of the configs)."""

    folder: Path | None = None
    made: ClassVar[list[Path]] = []  # folders that go at the end, where they are empty

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        given = config.get("results_root")
        root = Path(given if isinstance(given, str) else ".")
        self.folder = root.absolute() / ".sweeps" / f"{int(time.time())}-{os.getpid()}"
        self.made[:] = [self.folder.parent, *files.absent_parents(self.folder.parent)]
        journal.journal = Journal(self.folder)
        with read_write(config), open_dict(config):
            config.hydra.sweep.dir = str(self.folder)  # Where Hydra writes its multirun.yaml, which nobody reads.

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        found = Path(config.hydra.sweep.dir, "optimization_results.yaml")  # Optuna's
        if found.exists():
            found.replace(Path(config.results_root, found.name))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        journal.journal = None if self.folder is None else Journal(self.folder)


def _run_hydra(
    work: Callable[[DictConfig], Any], folder: Path, config_name: str, words: list[str] | None = None
) -> None:
    """Run ``work`` as a Hydra application; user errors are one line, exit code 2.

    In a sweep any error of a run is kept for the end, and the others go on; then the exit code is 1.
    """
    logging.raiseExceptions = False  # A disk too full for the log stops the run elsewhere, with one line.
    debugging = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing; we print.
    refused: list[str] = []

    def refuse(error: BaseException) -> None:
        if debugging:
            raise error
        refused.append(one_line(error, folder, config_name))
        print(f"error: {refused[-1]}", file=sys.stderr)

    def task(config: DictConfig) -> Any:
        with logging_redirect_tqdm():
            if journal.journal is not None:
                return _journalled(journal.journal, work, config)
            try:
                return work(config)
            except USER_ERRORS as error:
                refuse(error)  # Not raised further: Hydra would add lines of its own.

    entries: list[dict[str, Any]] = []
    try:
        with stopping_in_order(), _command_line(sys.argv[1:] if words is None else words):
            hydra.main(version_base="1.3", config_path=str(folder), config_name=config_name)(task)()
    except (HydraException, *USER_ERRORS) as error:
        refuse(error)
    except Stopped as stopped:
        if not stopped.saved:
            print("stopped; what was finished is kept, and the same command goes on", file=sys.stderr)
        raise
    finally:
        entries = _end_of_sweep()
    if refused:
        sys.exit(2)
    if any(entry["state"] in ("failed", "started") for entry in entries):
        sys.exit(1)


@contextlib.contextmanager
def _command_line(words: list[str]) -> Iterator[None]:
    """Have Hydra read these words (:func:`cmidd.cli.words.as_hydra_reads`), which it takes from the process alone."""
    before = sys.argv
    sys.argv = [before[0], *as_hydra_reads(words)]
    try:
        yield
    finally:
        sys.argv = before


def _end_of_sweep() -> list[dict[str, Any]]:
    """Report how the runs of a sweep ended, and remove its journal; returns what that held."""
    if journal.journal is None:
        return []
    entries = journal.journal.entries()
    print(journal.report(entries))
    shutil.rmtree(journal.journal.folder, ignore_errors=True)
    files.remove_empty(SweepJournal.made)
    return entries


def _journalled(own: Journal, work: Callable[[DictConfig], Any], config: DictConfig) -> float | None:
    """One run of a sweep: its end goes into the journal; returns its number, or None where there is none."""
    number, words, began = HydraConfig.get().job.num, _words(), time.monotonic()
    own.write(number, "started", words)
    try:
        outcome = work(config)
    except Exception as error:
        if not isinstance(error, USER_ERRORS):
            log.exception("the run failed")
        own.write(number, "failed", words, reason=f"{type(error).__name__}: {one_line(error)}")
        return None
    accuracy = outcome if isinstance(outcome, float) else None
    seconds = time.monotonic() - began
    if accuracy is None:
        own.write(number, "done", words)
    else:
        about = {"dataset": config.dataset.name, "results_root": config.results_root}
        own.write(number, "done", words, accuracy=accuracy, seconds=seconds, **about)
    return accuracy


def _words() -> list[str]:
    """The settings of this run as distill.py takes them, without what makes it one of a sweep."""
    words = HydraConfig.get().overrides.task
    return [as_typed(word) for word in words if not word.startswith(("+sweep=", "+launch=", "dry_run="))]


def _check_recipe() -> None:
    """Say when there is no recipe for a method and data set; refuse one that was asked for by name."""
    choices, given = HydraConfig.get().runtime.choices, HydraConfig.get().overrides.task
    recipes = {path.stem for path in (CONFIGS / "recipe").glob("*.yaml")}
    asked = [override.removeprefix("recipe=") for override in given if override.startswith("recipe=")]
    for name in asked:
        if name not in recipes:
            raise SettingError(f"recipe={name}: unknown; choose one of {', '.join(sorted(recipes))}")
    if not asked and f"{choices['method']}_{choices['dataset']}" not in recipes:
        method = choices["method"]
        log.warning("no recipe %s_%s: using the values that the method has by itself", method, choices["dataset"])
    for kind, by_itself in BY_ITSELF.items():
        name = f"{choices[kind]}_{choices['method']}_{choices['dataset']}"
        if choices[kind] != by_itself and not (CONFIGS / "recipe" / kind / f"{name}.yaml").exists():
            log.warning("no recipe %s/%s: using the values that %s=%s has by itself", kind, name, kind, choices[kind])


def _admitted(folder: Path, config: DictConfig, settings: "Settings", said: RunLog) -> dict[str, Any]:
    """Write Hydra's record of the run and its log into the folder; before, nothing there was touched.

    Returns:
        The line that makes this run, and what it changes from the published recipe.
    """
    overrides = HydraConfig.get().overrides.task
    differs = differs_from_recipe(settings)  # Which may refuse: before anything is written.
    files.write_text(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    files.write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(list(overrides))))
    said.into(folder)
    return {
        "command": shlex.join(["python", "scripts/distill.py", *_words()]),
        "differs_from_recipe": differs,
    }


def differs_from_recipe(settings: "Settings") -> dict[str, list[Any]]:
    """What the command line changed from the published recipe of its method and data set, ``{setting: [this run's, the
    recipe's]}``.
    """
    choices = HydraConfig.get().runtime.choices
    words = [f"method={choices['method']}", f"dataset={choices['dataset']}", f"ipc={settings.ipc}"]
    given = "lambda", settings.cmi.weight
    if settings.cmi.ratio is not None:
        given = "ratio", settings.cmi.ratio
    words += [f"seed={settings.seed}", f"cmi.{given[0]}={given[1]}", f"data.root={quoted(settings.data.root)}"]
    words += [f"regularizer=[{','.join(settings.regularizers)}]"]
    words += [f"sampler={choices['sampler']}", f"schedule={choices['schedule']}"]
    recipe = files.as_json(compose(words, is_run=False).identity)
    own = files.as_json(settings.identity)
    # Of the whole data set it makes the accuracy, which stands in a table by itself.
    of_whole = differences(own["evaluation"]["whole"], recipe["evaluation"]["whole"], "evaluation.whole")
    changed = [*identity_differences(own, recipe), *of_whole]
    return {name: [value, published] for name, value, published in changed if not name.startswith(REPEATED)}
