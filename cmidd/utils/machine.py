"""What the machine has."""

import os
import sys


def machine_memory() -> int | None:
    """Bytes of main memory; None where the system does not say."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.virtual_memory().total)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
