"""The module that knows Hydra: resolvers, one-line errors, and the folder's ``.hydra`` and log."""

import contextlib
import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, SearchPathException
from hydra.experimental.callback import Callback
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from tqdm.contrib.logging import logging_redirect_tqdm

from cmidd import files, sweeps
from cmidd.errors import SettingError
from cmidd.records import PLAIN, identity_differences, strength
from cmidd.settings import Settings, read_settings
from cmidd.sweeps import Journal
from cmidd.targets import check_all_configs

log = logging.getLogger(__name__)
CONFIGS = Path(__file__).parents[1] / "configs"
Admitted = Callable[[Path], dict[str, Any]]
# What the user or the machine is to blame for: one line, no traceback.
USER_ERRORS = (SettingError, OmegaConfBaseException, OSError)
Main = Callable[[Settings, dict[str, Any], Admitted], Any]


def by_ipc(ipc: int, table: Any) -> Any:
    """The published value for ``ipc``, else that of the nearest listed ipc (said in the log)."""
    table = dict(table)
    if ipc in table or not isinstance(ipc, int):
        return table.get(ipc)
    nearest = min(table, key=lambda listed: abs(listed - ipc))
    log.warning("no published value for ipc=%s: using %s, that of ipc=%s", ipc, table[nearest], nearest)
    return table[nearest]


def by_name(name: str, table: Any) -> Any:
    """The value for a method or data set, else the first that is listed (said in the log)."""
    table = dict(table)
    if name in table:
        return table[name]
    first = next(iter(table))
    log.warning("no published value for %s: using %s, that of %s", name, table[first], first)
    return table[first]


def with_term(name: str, value: Any, otherwise: Any, *, _root_: DictConfig) -> Any:
    """``value`` for runs with CMI or another regulariser at a weight above 0 or a ratio, else ``otherwise``."""
    term = OmegaConf.select(_root_, name)
    if not isinstance(term, DictConfig):
        return otherwise
    weight = term.get("lambda")
    if weight is None:
        weight = term.get("ratio")
    if weight is None:
        weight = term.get("default", term.get("fallback"))
    if weight is None or weight == 0:
        return otherwise
    log.info("with %s the recipe says %s, without %s", name, value, otherwise)
    return value


check_all_configs()
OmegaConf.register_new_resolver("gpu_count", lambda: max(1, torch.cuda.device_count()), replace=True)
OmegaConf.register_new_resolver("pool_size", lambda given, size: size if given is None else None, replace=True)
OmegaConf.register_new_resolver("by_ipc", by_ipc, replace=True, use_cache=False)
OmegaConf.register_new_resolver("by_name", by_name, replace=True, use_cache=False)
OmegaConf.register_new_resolver("with_term", with_term, replace=True, use_cache=False)


def app(main: Main, config_name: str = "distill") -> None:
    """Run ``main(settings, arguments, admitted)`` on the settings of ``configs/<config_name>.yaml``."""

    def work(config: DictConfig) -> Any:
        _check_recipe()
        settings, arguments = read_settings(_plain(config))
        return main(settings, arguments, lambda folder: _admitted(folder, config, settings))

    _run_hydra(work, CONFIGS, config_name)


def hydra_app(main: Callable[[dict[str, Any]], Any], config_name: str) -> None:
    """Run ``main(config)`` on another config, whose folder has no groups, so that ``network=[a,b]`` is a list."""
    folder, _, name = config_name.rpartition("/")
    _run_hydra(lambda config: main(_plain(config)), CONFIGS / folder, name)


def compose(overrides: list[str]) -> Settings:
    """The settings that ``distill.py`` would have for ``overrides``."""
    return compose_run(overrides)[0]


def compose_run(overrides: list[str]) -> tuple[Settings, dict[str, Any]]:
    """The settings that ``distill.py`` would have for ``overrides``, and the arguments of the method."""
    backup = get_gh_backup()
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return read_settings(_plain(hydra.compose("distill", overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingError(_one_line(error)) from error
    finally:
        restore_gh_from_backup(backup)


def recipe_strength(method: str, dataset: str, ipc: int) -> str:
    """The weight or ratio of CMI that ``cmi=recipe`` gives, which the sweeps use (:func:`cmidd.records.strength`)."""
    return strength(vars(compose([f"method={method}", f"dataset={dataset}", f"ipc={ipc}", "cmi=recipe"]).cmi))


def _plain(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


class SweepJournal(Callback):
    """Tells every process of a sweep where its journal is (``hydra.callbacks`` of configs/distill.yaml)."""

    folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self.folder = Path(config.results_root).absolute() / ".sweeps" / f"{int(time.time())}-{os.getpid()}"
        sweeps.journal = Journal(self.folder)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        sweeps.journal = None if self.folder is None else Journal(self.folder)


def _run_hydra(work: Callable[[DictConfig], Any], folder: Path, config_name: str) -> None:
    """Run ``work`` as a Hydra application; user errors are one line, exit code 2.

    In a sweep any error of a run is kept for the end, and the others go on; then the exit code is 1.
    """
    logging.raiseExceptions = False  # A disk too full for the log stops the run elsewhere, with one line.
    debugging = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing; we print.
    refused: list[str] = []

    def refuse(error: BaseException) -> None:
        refused.append(_one_line(error))
        print(f"error: {refused[-1]}", file=sys.stderr)

    def task(config: DictConfig) -> Any:
        with logging_redirect_tqdm():
            if sweeps.journal is not None:
                return _journalled(sweeps.journal, work, config)
            try:
                return work(config)
            except USER_ERRORS as error:
                if debugging:
                    raise
                refuse(error)  # Not raised further: Hydra would add lines of its own.

    if any(word.startswith("--e") for word in sys.argv):  # of Hydra's options only --experimental-rerun, shortened
        refuse(SettingError("--experimental-rerun: would unpickle a file, and so run it; give the settings instead"))
        sys.exit(2)
    if "dry_run=true" in sys.argv:  # It computes nothing, so it needs no cluster.
        launching = ("+launch=", "hydra/launcher=", "hydra.launcher.")
        sys.argv = [word for word in sys.argv if not word.startswith(launching)]
    entries = []
    try:
        hydra.main(version_base="1.3", config_path=str(folder), config_name=config_name)(task)()
    except (HydraException, *USER_ERRORS) as error:
        if debugging:
            raise
        refuse(error)
    finally:
        if sweeps.journal is not None:
            entries = sweeps.journal.entries()
            print(sweeps.report(entries))
            shutil.rmtree(sweeps.journal.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                sweeps.journal.folder.parent.rmdir()
    if refused:
        sys.exit(2)
    if any(entry["state"] in ("failed", "started") for entry in entries):
        sys.exit(1)


def _journalled(journal: Journal, work: Callable[[DictConfig], Any], config: DictConfig) -> float | None:
    """One run of a sweep: its end goes into the journal; returns its number, or None where there is none."""
    number, words = HydraConfig.get().job.num, _words()
    journal.write(number, "started", words)
    try:
        outcome = work(config)
    except Exception as error:
        if not isinstance(error, USER_ERRORS):
            log.exception("the run failed")
        journal.write(number, "failed", words, reason=f"{type(error).__name__}: {_one_line(error)}")
        return None
    journal.write(number, **{"state": "done", "words": words, **sweeps.as_entry(outcome)})
    return outcome if isinstance(outcome, float) else None


def _words() -> list[str]:
    """The settings of this run as distill.py takes them, without what makes it one of a sweep."""
    words = HydraConfig.get().overrides.task
    return [word for word in words if not word.startswith(("+sweep=", "+launch=", "dry_run="))]


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
        log.warning("no recipe %s_%s: using the values of configs/method/%s.yaml", method, choices["dataset"], method)
    for kind, plain in PLAIN.items():
        name = f"{choices[kind]}_{choices['method']}_{choices['dataset']}"
        if choices[kind] != plain and not (CONFIGS / "recipe" / kind / f"{name}.yaml").exists():
            log.warning("no recipe %s/%s: using the values of configs/%s/%s.yaml", kind, name, kind, choices[kind])


def _admitted(folder: Path, config: DictConfig, settings: Settings) -> dict[str, Any]:
    """Write Hydra's record of the run and its log into the folder; before, nothing there was touched.

    Returns:
        The line that makes this run, and what it changes from the published recipe.
    """
    overrides = HydraConfig.get().overrides.task
    files.write_text(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    files.write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(list(overrides))))
    handler = logging.FileHandler(folder / "distill.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    return {
        "command": shlex.join(["python", "scripts/distill.py", *_words()]),
        "differs_from_recipe": differs_from_recipe(settings),
    }


def differs_from_recipe(settings: Settings) -> dict[str, list[Any]]:
    """What the command line changed from the published recipe of its method and data set, ``{setting: [this run's, the
    recipe's]}``.
    """
    choices = HydraConfig.get().runtime.choices
    words = [f"method={choices['method']}", f"dataset={choices['dataset']}", f"ipc={settings.ipc}"]
    given = "lambda", settings.cmi.weight
    if settings.cmi.ratio is not None:
        given = "ratio", settings.cmi.ratio
    words += [f"seed={settings.seed}", f"cmi.{given[0]}={given[1]}", f"data.root={settings.data.root}"]
    words += [f"regularizer=[{','.join(settings.regularizers)}]"]
    words += [f"sampler={choices['sampler']}", f"schedule={choices['schedule']}"]
    recipe = files.as_json(compose(words).identity)
    changed = identity_differences(files.as_json(settings.identity), recipe)
    repeated = ("method.iterations", "method.init", "method.formation")  # they stand on top as well
    return {name: [value, published] for name, value, published in changed if not name.startswith(repeated)}


def _one_line(error: BaseException) -> str:
    """The cause's message without line breaks; a missing config lists what there is, and an error of the system says
    what to do about it.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        options = error.options or [path.stem for path in (CONFIGS / group).glob("*.yaml")]
        return f"{group or '--config-name'}={name}: unknown; choose one of {', '.join(sorted(options))}"
    if isinstance(error, SearchPathException):
        return f"--config-dir: {error}; give a folder of configs"
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        return f"{' '.join(str(error).split())}: {str(error.__cause__).splitlines()[0]}; check how its value is written"
    if isinstance(error, MissingMandatoryValue) and error.full_key:
        return f"{error.full_key}: missing; give {error.full_key}=..."
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {str(error).splitlines()[0]}; check how its value is written"
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else error
        return f"{what} -- what was done before is kept: make room or repair it, and start again"
    return " ".join(str(error).split())
