"""What submitit says and meets around the jobs of a sweep: polls that fail, and the end of a job that is requeued."""

import logging
import subprocess

FAILED_POLL = "Bypassing sacct error"  # submitit.core.core.InfoWatcher.update


def say_once() -> None:
    """Have submitit's logger, which has handlers for both streams beside Hydra's, say each thing once, and what is so
    at every poll at the first.
    """
    import submitit  # noqa: F401 (which gives its logger those)

    logger = logging.getLogger("submitit")
    logger.handlers.clear()
    if not any(isinstance(each, _FirstFailedPoll) for each in logger.filters):
        logger.addFilter(_FirstFailedPoll())


def is_requeued(error: Exception) -> bool:
    """Whether Slurm has requeued the job of this process: it then ends all that the job started, among it the very
    ``scontrol requeue`` that submitit has asked it with and waits for.
    """
    if not isinstance(error, subprocess.CalledProcessError):
        return False
    return list(error.cmd[:2]) == ["scontrol", "requeue"] and error.returncode < 0


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
