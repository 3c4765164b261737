"""The commands as Hydra applications: one-line errors, exit codes, and sweeps."""

import contextlib
import logging
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import hydra
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from cmidd.cli import following_jobs, journal
from cmidd.cli.admission import Admission, check_recipe, own_words, refuse_launcher, say_idle
from cmidd.cli.compose import Composition, as_dict, notes, of, say_notes
from cmidd.cli.configs import CONFIGS
from cmidd.cli.first_look import look
from cmidd.cli.journal import Journal
from cmidd.cli.refusals import one_line
from cmidd.cli.run_log import run_log
from cmidd.cli.told_plugins import plugins_known
from cmidd.cli.words import as_hydra_reads, refuse_options
from cmidd.utils import files
from cmidd.utils.errors import SettingError
from cmidd.utils.interruption import Stopped, stopping_in_order
from cmidd.utils.shortage import named_shortage

if TYPE_CHECKING:
    from cmidd.runs.settings import Settings

log = logging.getLogger(__name__)

# What the user or the machine is to blame for: one line, no traceback.
USER_ERRORS = (SettingError, OmegaConfBaseException, OSError)
NO_TRIAL = "No trials are completed yet"  # Optuna's, of a study whose runs all failed: the report says why each did


def app(load: Callable[[], Callable[["Settings", Admission], Any]], words: list[str], *, plans: bool = False) -> None:
    """Run a command on the settings of a run, ``configs/distill.yaml``.

    Args:
        load: returns what the command does with them, which is imported only once they were composed.
        plans: whether the command has a dry run, and can prepare runs.
    """

    def work(config: DictConfig) -> Any:
        notes.clear()
        chosen = of(config, HydraConfig.get())
        look(chosen)
        from cmidd.runs.read_settings import read_settings  # which imports torch

        settings = read_settings(chosen.settings)
        if settings.dry_run and not plans:
            raise SettingError(f"dry_run={settings.dry_run}: only distill.py has a dry run; leave it out")
        if settings.prepare and not plans:
            raise SettingError("prepare=true: only distill.py prepares runs; leave it out")
        if settings.overwrite and not plans:
            raise SettingError(
                "overwrite=true: only distill.py puts runs aside; delete below buffers_root what is to be made anew"
            )
        with run_log("/".join(settings.folder.parts[-5:])) as said:
            check_recipe(chosen)
            if HydraConfig.get().mode != RunMode.MULTIRUN:
                refuse_launcher([*HydraConfig.get().overrides.hydra, *chosen.words])
                if plans:
                    say_idle(chosen.words, settings)
            say_notes()
            return load()(settings, Admission(chosen, settings, said))

    _run_hydra(work, CONFIGS, "distill", words)


def evaluation_app(load: Callable[[], Callable[[Composition], Any]], words: list[str]) -> None:
    """Run ``evaluate`` on the settings of a run and its own, ``configs/evaluate.yaml``; ``load`` as for :func:`app`."""

    def work(config: DictConfig) -> Any:
        chosen = of(config, HydraConfig.get())
        notes.clear()  # What a recipe says of distilling is nothing to an evaluation.
        look(chosen, of_a_set=True)
        return load()(chosen)

    _run_hydra(work, CONFIGS, "evaluate", words)


def hydra_app(load: Callable[[], Callable[[dict[str, Any]], Any]], command: str, words: list[str]) -> None:
    """Run a command on the settings of ``configs/command/<command>.yaml``; ``load`` as for :func:`app`."""

    def work(config: DictConfig) -> Any:
        with plugins_known(True):
            return load()(as_dict(config))

    with plugins_known(False):
        _run_hydra(work, CONFIGS / "command", command, words)


class SweepJournal(Callback):
    """Tells every process of a sweep where its journal is, and its words (``hydra.callbacks`` of the configs)."""

    folder: Path | None = None
    words: list[str]
    made: ClassVar[list[Path]] = []  # folders that go at the end, where they are empty

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        # As they were typed: ${...} stands for what its runs have, and this config may not.
        typed: dict[Any, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
        given, overrides = typed.get("results_root"), typed["hydra"]["overrides"]
        fixed, varies = (given if isinstance(given, str) else ".").partition("${")[:2]
        root = Path(fixed.rpartition("/")[0] or "." if varies else fixed).expanduser()
        self.folder = root.absolute() / ".sweeps" / f"{int(time.time())}-{os.getpid()}-{secrets.token_hex(2)}"
        self.made[:] = [self.folder.parent, *files.absent_parents(self.folder.parent)]
        self.words = [*overrides["hydra"], *overrides["task"]]
        journal.journal = Journal(self.folder, self.words)
        if "submitit" in config.hydra.launcher.get("_target_", ""):
            following_jobs.say_once()
        with read_write(config), open_dict(config):
            config.hydra.sweep.dir = str(self.folder)  # Where Hydra writes its multirun.yaml, which nobody reads.

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        found = Path(config.hydra.sweep.dir, "optimization_results.yaml")  # Optuna's
        if found.exists():
            kept = Path(config.results_root).expanduser() / found.name
            if kept.exists() and kept.read_bytes() != found.read_bytes():  # Another study's.
                kept.replace(files.unused(kept.with_suffix(""), ["yaml"])[0])
            kept.parent.mkdir(parents=True, exist_ok=True)
            found.replace(kept)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        journal.journal = None if self.folder is None else Journal(self.folder, self.words)


def _run_hydra(work: Callable[[DictConfig], Any], folder: Path, config_name: str, words: list[str]) -> None:
    """Run ``work`` as a Hydra application; user errors are one line, exit code 2.

    In a sweep any error of a run is kept for the end, and the others go on; then the exit code is 1.
    """
    logging.raiseExceptions = False  # A disk too full for the log stops the run elsewhere, with one line.
    debugging = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing; we print.
    refused: list[str] = []

    def guarded(config: DictConfig) -> Any:
        with named_shortage():  # Made here: launchers pickle what a run does.
            return work(config)

    def refuse(error: BaseException) -> None:
        if debugging:
            raise error
        refused.append(one_line(error))
        print(f"error: {refused[-1]}", file=sys.stderr)

    def task(config: DictConfig) -> Any:
        from tqdm.contrib.logging import logging_redirect_tqdm

        with logging_redirect_tqdm():
            if journal.journal is not None:
                return _journalled(journal.journal, guarded, config)
            try:
                return guarded(config)
            except USER_ERRORS as error:
                refuse(error)  # Not raised further: Hydra would add lines of its own.

    entries: list[dict[str, Any]] = []
    try:
        with stopping_in_order(), _hydra_reading(words):
            hydra.main(version_base="1.3", config_path=str(folder), config_name=config_name)(task)()
    except (HydraException, *USER_ERRORS) as error:
        refuse(error)
    except ValueError as error:
        if NO_TRIAL not in str(error):
            raise
    except Stopped as stopped:
        if not stopped.saved:
            print("stopped; what was finished is kept, and the same command goes on", file=sys.stderr)
        raise
    finally:
        entries = _end_of_sweep(words)
    if refused:
        sys.exit(2)
    if any(entry["state"] in ("failed", "started") for entry in entries):
        sys.exit(1)


@contextlib.contextmanager
def _hydra_reading(words: list[str]) -> Iterator[None]:
    """Have Hydra read these words (:func:`cmidd.cli.words.as_hydra_reads`), which it takes from the process alone.

    Hydra composes everything once more to learn its mode, which nothing sets but what the words below name.
    """
    refuse_options(words)
    before, mode = sys.argv, Hydra.get_mode
    if not any(word.startswith(("-", "+sweep=", "+launch=")) or "hydra" in word for word in words):
        Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    sys.argv = [before[0], *as_hydra_reads(words)]
    try:
        yield
    finally:
        sys.argv, Hydra.get_mode = before, mode  # type: ignore[method-assign]


def _end_of_sweep(words: list[str]) -> list[dict[str, Any]]:
    """Report how the runs of a sweep that these words began ended, and remove its journal; returns what that held."""
    if journal.journal is None:
        return []
    entries = journal.journal.entries()
    print(journal.report(entries, words))
    shutil.rmtree(journal.journal.folder, ignore_errors=True)
    files.remove_empty(SweepJournal.made)
    return entries


def _journalled(own: Journal, work: Callable[[DictConfig], Any], config: DictConfig) -> float | None:
    """One run of a sweep: its end goes into the journal; returns its number, or None where there is none."""
    number, words = HydraConfig.get().job.num, own_words(list(HydraConfig.get().overrides.task))
    began = time.monotonic()
    own.write(number, "started", words)
    try:
        outcome = work(config)
    except Exception as error:
        if following_jobs.is_requeued(error):  # No failure: the run goes on in the next start of the job.
            raise SystemExit(-1) from error
        if not isinstance(error, USER_ERRORS):
            log.exception("the run failed")
        own.write(number, "failed", words, reason=f"{type(error).__name__}: {one_line(error)}")
        return None
    accuracy = outcome if isinstance(outcome, float) else None
    seconds = time.monotonic() - began
    if accuracy is None:
        own.write(number, "done", words, **({} if outcome is None else {"made": outcome}))
    else:
        about = {"dataset": config.dataset.name, "results_root": config.results_root}
        own.write(number, "done", words, accuracy=accuracy, seconds=seconds, **about)
    return accuracy
