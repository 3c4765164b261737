"""The few things that a config may have imported and called: Hydra's known launchers and sweepers, and our own journal.

Hydra imports and calls whatever a config names as ``_target_`` in its callbacks, launcher and sweeper, what its
logging settings name, and Optuna's ``custom_search_space``. Without this list, a config of someone else would be a
program, and one word on the command line would be enough to run it.
"""

from collections.abc import Iterator
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cmidd.cli.refusals import refuse_no_names
from cmidd.utils.errors import SettingError

OF_RUNS = ("distill", "evaluate")  # the configs whose groups are those of a run
TARGETS = frozenset(
    {
        "cmidd.cli.app.SweepJournal",
        *(f"hydra._internal.core_plugins.basic_{kind}.Basic{kind.title()}" for kind in ("launcher", "sweeper")),
        "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
        "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
        *(f"hydra_plugins.hydra_submitit_launcher.submitit_launcher.{kind}Launcher" for kind in ("Local", "Slurm")),
        "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper",
        *(f"optuna.samplers.{kind}Sampler" for kind in ("TPE", "Random", "Grid", "CmaEs", "NSGAII")),
    }
)
# What Python's logging would import. Runs write their log themselves, so nothing needs a handler with a file.
LOGGING = frozenset({"logging.StreamHandler", "logging.NullHandler"})
CALLED = ("callbacks", "launcher", "sweeper")
LOGGED = ("hydra_logging", "job_logging")
# Strings that run, or decide what runs, outside this process's code.
NEVER = {
    "job.env_set": "set variables in the shell instead: NAME=value cmidd ...",
    "sweeper.custom_search_space": "give the space as hydra.sweeper.params",
}


def check_all_configs() -> None:
    """Have all that Hydra composes in this process checked before any of it is used."""
    load = ConfigLoaderImpl.load_configuration
    if load.__module__ == __name__:  # done before
        return

    def checked(*arguments: Any, **named: Any) -> DictConfig:
        if named.get("config_name") in OF_RUNS:
            refuse_no_names(named.get("overrides", []))
        try:
            config = load(*arguments, **named)
        except (HydraException, OmegaConfBaseException):
            raise
        except Exception as error:  # Hydra raises a few others, such as ValueError for method=5.
            words = " ".join(named.get("overrides", []))
            raise SettingError(f"{words}: cannot be read ({error}); check how the words are written") from error
        container: Any = OmegaConf.to_container(config, resolve=False)
        # What is called later must not hide behind an interpolation now.
        for part in (*CALLED, *LOGGED):
            value = config.hydra[part]
            container["hydra"][part] = (
                OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            )
        refuse_targets(container)
        return config

    # The one place that everything passes; Hydra offers no other.
    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]


def refuse_targets(config: Any) -> None:
    """Check a config, resolved in the parts :data:`CALLED` and :data:`LOGGED` of its ``hydra``.

    Raises:
        SettingError: naming the first setting that names what is not on the list.
    """
    for name, value in _leaves(config):
        key = name.rpartition(".")[2]
        if key == "_target_" and value not in TARGETS:
            raise SettingError(
                f"{name}={value}: not imported, as only Hydra's launchers and sweepers are; leave it out"
            )
        logging, called = (name.startswith(tuple(f"hydra.{part}" for part in parts)) for parts in (LOGGED, CALLED))
        if (logging or called) and "${" in str(value):
            raise SettingError(f"{name}={value}: still to be resolved, and so could become anything; give its value")
        if logging and (key == "()" or (key == "class" and value not in LOGGING)):
            raise SettingError(f"{name}={value}: not imported; choose one of {', '.join(sorted(LOGGING))}")
        imported = logging and isinstance(value, str) and value.startswith(("ext://", "cfg://"))
        if imported and value not in ("ext://sys.stdout", "ext://sys.stderr"):
            raise SettingError(f"{name}={value}: not imported; use ext://sys.stdout or ext://sys.stderr")
        for never, instead in NEVER.items():
            if value not in (None, {}, []) and f"{name}.".startswith(f"hydra.{never}."):
                raise SettingError(f"{name}={value}: not taken from a config; {instead}")


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no container, with its dotted name."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _leaves(below, f"{name}.{number}")
    else:
        yield name, value
