"""Numbers and names as people read them."""

import statistics
import sys
from collections.abc import Iterable
from pathlib import Path


def summary(values: list[float]) -> str:
    """Mean and sample standard deviation with their n."""
    spread = f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread} (n={len(values)})"


def table_row(cells: Iterable[object]) -> str:
    """A row of a Markdown table; the text of a cell is shown as it is if it is escaped (:func:`escape_markdown`)."""
    return f"| {' | '.join(map(str, cells))} |"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is: it opens no element, no code and no other cell."""
    return " ".join("".join(f"&#{ord(sign)};" if sign in "<>&|`[]*" else sign for sign in text).split())


def duration(seconds: float) -> str:
    """Seconds as people say them: ``42 s``, ``12 min``, ``3.5 h``, ``2.1 d``."""
    for unit, size in (("d", 86400.0), ("h", 3600.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def per_second(seconds: float, unit: str) -> str:
    """How fast something goes, by the seconds of one: ``0.53 s an iteration``, ``3.1 ms an iteration``."""
    article = "an" if unit[0] in "aeiou" else "a"
    return f"{seconds:.2g} s {article} {unit}" if seconds >= 0.1 else f"{1000 * seconds:.2g} ms {article} {unit}"


def in_bytes(size: float) -> str:
    """A number of bytes as people say it: ``812 B``, ``53 kB``, ``2.5 MB``, ``1.2 GB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1e3:.0f} kB" if size >= 1e3 else f"{size:.0f} B"


def command_line(command: str) -> str:
    """How a user starts a command: ``python scripts/<command>.py`` in a checkout, unless this process was started as
    ``cmidd``; and that where it is installed.
    """
    scripts = Path(__file__).parents[2] / "scripts" / f"{command}.py"
    if scripts.exists() and Path(sys.argv[0]).name != "cmidd":
        return f"python scripts/{command}.py"
    return f"cmidd {command}"
