"""A Slurm of one node on loopback: munged, slurmctld and slurmd, started by hand in a folder and ended by their pids.

Refuses to know what its jobs do.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue", "sinfo", "sacct", "scontrol")
KILL_WAIT_S = 30
"""Slurm's own default: so long after SIGTERM comes SIGKILL."""
IDLE_S = 60.0
FREEZER = Path("/sys/fs/cgroup/freezer")
CGROUP_CONF = "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nCgroupAutomount=no\n"
"""By it Slurm finds every process of a job, as it does on most sites; where there is none it follows parents."""
CONF = """\
ClusterName=shdask
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
MpiDefault=none
ProctrackType={proctrack}
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobcomp
ReturnToService=2
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait={kill_wait_s}
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=6000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmNode:
    """A running Slurm of two CPUs."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """What Slurm's commands need to find it. Pure."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def run(self, *words: str) -> str:
        """What one of Slurm's commands prints. Raises CalledProcessError."""
        done = subprocess.run(
            words, env={**os.environ, **self.environment()}, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def jobs(self, name: str) -> list[str]:
        """The ids of the running jobs of a name, oldest first."""
        return sorted(self.run("squeue", "-h", "-t", "R", "-n", name, "-o", "%i").split(), key=int)

    def pids(self, job: str) -> list[int]:
        """The processes of a running job on this node, the batch shell among them."""
        lines = self.run("scontrol", "listpids", job).splitlines()[1:]
        return [int(line.split()[0]) for line in lines if int(line.split()[0]) > 0]

    def is_busy(self) -> bool:
        """Whether any job waits, runs or ends."""
        return bool(self.run("squeue", "-h", "-t", "R,PD,CG", "-o", "%i").split())

    def kept_files(self) -> list[Path]:
        """Everything that Slurm has written: state, spool, logs."""
        return [path for path in self.folder.rglob("*") if path.is_file()]


def missing_programs() -> list[str]:
    """What has to be installed before a node can be started."""
    os.environ["PATH"] += ":/usr/sbin"  # where Debian puts the daemons
    return [name for name in PROGRAMS if shutil.which(name) is None]


def proctrack() -> str:
    """How Slurm knows the processes of a job here."""
    return "proctrack/cgroup" if FREEZER.is_dir() else "proctrack/linuxproc"


@contextmanager
def start_slurm(folder: Path) -> Iterator[SlurmNode]:
    """A node that takes jobs, for the length of a ``with`` block; needs root. Raises RuntimeError where it does not."""
    for name in ("munge", "spool", "state"):
        (folder / name).mkdir(parents=True, mode=0o700)
    (folder / "munge" / "key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge" / "key").chmod(0o600)
    words = {"host": socket.gethostname().split(".")[0], "folder": folder, "kill_wait_s": KILL_WAIT_S}
    words["proctrack"] = proctrack()
    (folder / "cgroup.conf").write_text(CGROUP_CONF)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(controller_port=_free_port(), node_port=_free_port(), **words))
    munge = [f"--{kind}={folder}/munge/{name}" for kind, name in MUNGE_FILES.items()]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for words_of_one in (
            ["munged", "--foreground", "--force", *munge],
            ["slurmctld", "-D", "-f", str(conf)],
            ["slurmd", "-D", "-f", str(conf)],
        ):
            with (folder / f"{words_of_one[0]}.out").open("wb") as out:
                daemons.append(subprocess.Popen(words_of_one, stdout=out, stderr=out, start_new_session=True))
            time.sleep(1)
        node = SlurmNode(folder=folder)
        _wait_until_idle(node)
        try:
            yield node
        finally:
            node.run("scancel", "--full", "--state=RUNNING")
            node.run("scancel", "--state=PENDING")
            _wait_until_idle(node)  # a job whose daemons are gone would stay for ever
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)
        _remove_cgroups(FREEZER / f"slurm_{words['host']}")


MUNGE_FILES = {
    "key-file": "key",
    "socket": "socket",
    "pid-file": "pid",
    "log-file": "log",
    "seed-file": "seed",
}


def _wait_until_idle(node: SlurmNode) -> None:
    deadline = time.monotonic() + IDLE_S
    while time.monotonic() < deadline:
        try:
            if node.run("sinfo", "-h", "-o", "%t").strip() == "idle":
                return
        except subprocess.CalledProcessError:
            pass
        time.sleep(0.5)
    told = "".join((node.folder / f"{name}.log").read_text()[-2000:] for name in ("slurmctld", "slurmd"))
    raise RuntimeError(f"the node does not become idle:\n{told}")


def _remove_cgroups(root: Path) -> None:
    """What Slurm leaves of its own."""
    for place in [*sorted(root.rglob("*/"), reverse=True), root]:
        with suppress(OSError):  # its files go with it, and none may be there
            place.rmdir()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
