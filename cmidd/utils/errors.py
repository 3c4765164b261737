"""The one exception that a user is meant to read: it becomes a single line and exit code 2."""

import contextlib
import sys
from collections.abc import Iterator


class SettingError(ValueError):
    """A setting, file or environment that a run cannot work with.

    The message is one line: what was given, what was expected, and the way out.
    """


def reason(error: BaseException) -> str:
    """What another library's error says, in a line that is not too long; the kind of one that says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """For scripts without Hydra: what a user can mend is one line and exit code 2."""
    try:
        yield
    except BrokenPipeError:  # Nobody reads on: no error, and the command ends (cmidd.cli.main.ending_in_order).
        raise
    except (SettingError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
