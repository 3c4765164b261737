"""Slurm on this machine: one node, without accounting, in a folder of its own."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo", "scancel")
# Time limits are looked at every 30 s, and a job gets a minute more. A requeued job waits until no credential of its
# first start can be valid.
CONFIG = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdParameters=config_overrides
OverTimeLimit=1
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName=here NodeHostname={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000 State=UNKNOWN
PartitionName=all Nodes=here Default=YES MaxTime=INFINITE State=UP
"""


def lacking():
    """What keeps Slurm from being started here, in words; nothing where it can."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"no {', '.join(missing)} here (apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "slurmd has to be started by root"


@contextlib.contextmanager
def running(folder: Path):
    """Have Slurm run, and yield the environment in which its commands find it."""
    host, started = socket.gethostname(), []
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(host=host, folder=folder, controller=free_port(), node=free_port()))
    environment = os.environ | {"SLURM_CONF": str(config), "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}

    def start(*command):
        with (folder / f"{command[0]}.out").open("w") as out:
            started.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True))

    def asked(*command):
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout

    files = {"key-file": key.name, "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
    options = [f"--{name}={folder / file}" for name, file in {**files, "seed-file": "munged.seed"}.items()]
    try:
        start("munged", "--foreground", "--force", *options)
        wait_until(lambda: (folder / "munge.socket").exists(), folder)
        start("slurmctld", "-D", "-c")
        start("slurmd", "-D", "-N", "here")
        wait_until(lambda: "idle" in asked("sinfo", "--noheader", "--format=%T"), folder)
        yield environment
    finally:
        if len(started) > 1:
            asked("scancel", "--user=root", "--signal=KILL", "--full")
            asked("scontrol", "shutdown")
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def wait_until(condition, folder: Path, seconds: float = 60):
    """Wait for Slurm; where it does not come, what its logs say is raised."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            logs = sorted([*folder.glob("*.log"), *folder.glob("*.out")])
            raise TimeoutError("\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in logs))
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
