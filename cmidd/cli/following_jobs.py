"""What submitit says while it follows the jobs of a sweep, said once; of polls that fail the first."""

import logging

FAILED_POLL = "Bypassing sacct error"  # submitit.core.core.InfoWatcher.update


def say_once() -> None:
    """Have submitit's logger say each thing once: it has handlers for both streams, beside Hydra's."""
    import submitit  # noqa: F401 (which gives its logger those)

    logger = logging.getLogger("submitit")
    logger.handlers.clear()
    if not any(isinstance(each, _FirstFailedPoll) for each in logger.filters):
        logger.addFilter(_FirstFailedPoll())


class _FirstFailedPoll(logging.Filter):
    """Drops that Slurm keeps no accounts after it was said: that is so at every poll, and the jobs are followed by the
    files that they write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.said = False

    def filter(self, record: logging.LogRecord) -> bool:
        if FAILED_POLL not in record.getMessage():
            return True
        first, self.said = not self.said, True
        return first
