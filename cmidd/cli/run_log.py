"""What a run says: on the console, labelled where others run beside it, and all of it in ``distill.log``."""

import contextlib
import logging
import logging.handlers
from collections.abc import Iterator
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from cmidd.utils import progress
from cmidd.utils.errors import SettingError
from cmidd.utils.interruption import Stopped

log = logging.getLogger(__name__)
NAME = "distill.log"
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MOST_HELD = 10_000  # records before the folder is known


class RunLog(logging.handlers.MemoryHandler):
    """Holds what is said until the run is admitted to its folder, and writes it there from then on."""

    def __init__(self) -> None:
        super().__init__(MOST_HELD, flushLevel=logging.CRITICAL + 1, flushOnClose=False)

    def into(self, folder: Path) -> None:
        """Append what was said, and what will be, to the log in a folder."""
        file = logging.FileHandler(folder / NAME, encoding="utf-8")
        file.setFormatter(logging.Formatter(FORMAT))
        self.setTarget(file)
        self.flushLevel = logging.NOTSET
        self.flush()

    def shouldFlush(self, record: logging.LogRecord) -> bool:
        """Whether there is a file, so that nothing waits."""
        return self.target is not None

    def ended(self, error: BaseException) -> None:
        """Write why the run ended, which the console is told by others."""
        if self.target is None or (isinstance(error, Stopped) and error.saved):
            return
        text, trace = " ".join(str(error).split()), (type(error), error, error.__traceback__)
        if isinstance(error, SystemExit):
            text = f"stopped (exit code {error.code}); what was finished is kept, and the same command goes on"
        expected = isinstance(error, SettingError | OSError | SystemExit)
        self.handle(logging.LogRecord(__name__, logging.ERROR, __file__, 0, text, None, None if expected else trace))

    def close(self) -> None:
        """Close the file as well."""
        if self.target is not None:
            self.flush()
            self.target.close()
        super().close()


@contextlib.contextmanager
def run_log(label: str) -> Iterator[RunLog]:
    """Hear all that is said in a block; on the console each line is preceded by ``label``, where runs go on beside."""
    root, held, beside = logging.getLogger(), RunLog(), _others_beside()
    progress.alone = not beside
    shown = [
        handler
        for handler in root.handlers
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
    ]
    lines = progress.Lines()
    for handler in shown:
        handler.addFilter(lines)
        if beside:
            handler.setFormatter(_Labelled(label))
    root.addHandler(held)
    try:
        yield held
    except BaseException as error:
        held.ended(error)
        raise
    finally:
        root.removeHandler(held)
        held.close()
        for handler in shown:  # They are the process's, which may go on with another run.
            handler.removeFilter(lines)


class _Labelled(logging.Formatter):
    """Every line of a message with the label before it."""

    def __init__(self, label: str) -> None:
        super().__init__("%(message)s")
        self.label = label

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(f"[{self.label}] {line}" for line in super().format(record).splitlines())


def _others_beside() -> bool:
    """Whether this is a run of a sweep that a launcher starts several of at once."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return False
    return not str(HydraConfig.get().launcher.get("_target_", "")).endswith("BasicLauncher")
