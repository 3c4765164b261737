"""Where a synthetic set lies: a file, a run's folder, or a folder that ``export.py`` wrote."""

from pathlib import Path

from cmidd.utils import tensor_files
from cmidd.utils.errors import SettingError

SET = "synthetic.safetensors"
CARD = "synthetic.json"  # what an exported folder says of its pictures
OF_A_RUN = ("settings.json", "result.json", "DONE")  # a checkpoint comes later than its settings


def place_of(path: Path) -> Path:
    """The file of a set that a run's folder holds; any other path as it is.

    Raises:
        SettingError: when the run has no set yet.
    """
    path = path.expanduser()
    if (path / SET).is_file():
        return path / SET
    if (path / CARD).is_file() or not any((path / name).is_file() for name in OF_A_RUN):
        return path
    if (path / "DONE").exists():
        raise SettingError(f"{path}: a finished run whose {SET} is gone; put it back, or overwrite=true runs it again")
    raise SettingError(
        f"{path}: an unfinished run, at iteration {_iteration(path)}, without {SET} yet; start the run again, the same "
        "command goes on with it"
    )


def is_own(path: Path) -> bool:
    """Whether what lies at :func:`place_of` a path says itself how it was made."""
    return path.suffix == ".safetensors" or (path / CARD).is_file()


def header_of(path: Path) -> Path:
    """The file that says how the set was made."""
    return path / CARD if path.is_dir() else path


def _iteration(folder: Path) -> int:
    """How far a run has come, by the checkpoints of its stages."""
    headers = [tensor_files.read_shapes(path)[1] for path in sorted(folder.glob("checkpoint*.safetensors"))]
    return sum(header["iteration"] for header in headers if isinstance(header.get("iteration"), int))
