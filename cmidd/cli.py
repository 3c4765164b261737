"""The only module that knows Hydra: resolvers, one-line errors, and the folder's ``.hydra`` and log."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm.contrib.logging import logging_redirect_tqdm

from cmidd import files
from cmidd.errors import SettingError
from cmidd.settings import Settings, read_settings

log = logging.getLogger(__name__)
CONFIGS = Path(__file__).parents[1] / "configs"
Main = Callable[[Settings, dict[str, Any], Callable[[Path], None]], Any]


def by_ipc(ipc: int, table: Any) -> Any:
    """The published value for ``ipc``, else that of the nearest listed ipc (said in the log)."""
    table = dict(table)
    if ipc in table or not isinstance(ipc, int):
        return table.get(ipc)
    nearest = min(table, key=lambda listed: abs(listed - ipc))
    log.warning("no published value for ipc=%s: using %s, that of ipc=%s", ipc, table[nearest], nearest)
    return table[nearest]


OmegaConf.register_new_resolver("by_ipc", by_ipc, replace=True, use_cache=False)


def app(main: Main, config_name: str = "distill") -> None:
    """Run ``main(settings, arguments, admitted)`` on the settings of ``configs/<config_name>.yaml``."""

    def work(config: DictConfig) -> None:
        _check_recipe()
        settings, arguments = read_settings(_plain(config))
        main(settings, arguments, lambda folder: _admitted(folder, config))

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


def _plain(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def _run_hydra(work: Callable[[DictConfig], None], folder: Path, config_name: str) -> None:
    """Run ``work`` as a Hydra application; user errors are one line, exit code 2."""
    debugging = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing; we print.
    refused: list[str] = []

    def task(config: DictConfig) -> None:
        try:
            with logging_redirect_tqdm():
                work(config)
        except (SettingError, OmegaConfBaseException) as error:
            if debugging:
                raise
            # Not raised further: Hydra would add lines of its own, and end the other jobs of a sweep.
            refused.append(_one_line(error))
            print(f"error: {refused[-1]}", file=sys.stderr)

    try:
        hydra.main(version_base="1.3", config_path=str(folder), config_name=config_name)(task)()
    except (HydraException, OmegaConfBaseException) as error:
        if debugging:
            raise
        refused.append(_one_line(error))
        print(f"error: {refused[-1]}", file=sys.stderr)
    if refused:
        sys.exit(2)


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


def _admitted(folder: Path, config: DictConfig) -> None:
    """Write Hydra's record of the run and its log into the folder; before, nothing there was touched."""
    overrides = HydraConfig.get().overrides.task
    files.write_text(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    files.write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(list(overrides))))
    handler = logging.FileHandler(folder / "distill.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)


def _one_line(error: BaseException) -> str:
    """The cause's message without line breaks; a missing config lists what there is."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={name}: unknown; choose one of {', '.join(sorted(error.options))}"
    return " ".join(str(error).split())
