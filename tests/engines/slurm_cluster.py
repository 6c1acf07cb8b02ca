"""A real Slurm on this machine: munged, slurmctld and two slurmd, each with two "GPUs", as root, without systemd."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from system_packages import missing

PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel"]
PACKAGES = ["slurm-wlm", "munge"]
NODES = ["n1", "n2"]
DEVICES = {"n1": ["null", "zero"], "n2": ["full", "urandom"]}  # in /dev: they stand for the GPUs 0 and 1 of each node

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={root}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldPort={ports[0]}
MpiDefault=none
ReturnToService=2
MailProg=/bin/true
GresTypes=gpu
SlurmdTimeout=10
KillWait=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000 Gres=gpu:2
PartitionName=main Nodes=n1,n2 Default=YES State=UP PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=n1,n2 State=UP PriorityTier=10 PreemptMode=OFF
"""


def unavailable() -> str | None:
    """Why there can be no Slurm here, once all was tried to have one; None if there can."""
    os.environ["PATH"] += ":/usr/sbin"
    if os.geteuid() != 0:
        return "a Slurm of one's own is run as root"
    return missing(PROGRAMS, PACKAGES)


def until(holds: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"after {seconds:g} s still not: {what}"
        time.sleep(0.05)


class Cluster:
    """`slurm.conf`, the daemons, and what may befall them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        os.environ["SLURM_CONF"] = str(root / "slurm.conf")
        with_ports = [socket.socket() for _ in range(3)]
        for each in with_ports:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in with_ports]
        for each in with_ports:
            each.close()
        (root / "slurm.conf").write_text(CONF.format(host=socket.gethostname(), root=root, ports=ports))
        gres = [f"NodeName={node} Name=gpu File=/dev/{one}\n" for node, devices in DEVICES.items() for one in devices]
        (root / "gres.conf").write_text("".join(gres))
        (root / "state").mkdir()
        (root / "munge.key").write_bytes(os.urandom(128))
        (root / "munge.key").chmod(0o400)
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        where = {name: f"--{name}={self.root}/munge.{name}" for name in ("socket", "pid-file", "log-file", "seed-file")}
        key = f"--key-file={self.root}/munge.key"
        self.begin("munged", ["munged", "--foreground", "--force", key, *where.values()])
        until((self.root / "munge.socket").exists, "munged listens")
        self.begin("slurmctld", ["slurmctld", "-D"])
        for node in NODES:
            self.begin_node(node)
        until(lambda: self.idle() == len(NODES), "all nodes are idle")

    def begin(self, name: str, command: list[str]) -> None:
        with (self.root / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def begin_node(self, node: str) -> None:
        self.begin(node, ["slurmd", "-D", "-N", node])

    def idle(self) -> int:
        return self.said("sinfo", "--noheader", "--Node", "--partition=main", "--format=%T").split().count("idle")

    def said(self, *command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout

    def jobs(self) -> list[list[str]]:
        """Those that are not over: name, array's number, place in it, state, node."""
        text = self.said("squeue", "--noheader", "--array", "--format=%j %F %K %T %N")
        return [line.split() for line in text.splitlines()]

    def processes(self, node: str) -> set[int]:
        """Those of the jobs on `node`, with the daemons' own for each job."""
        found: set[int] = set()
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if f"SLURMD_NODENAME={node}".encode() in environment:
                found.add(int(entry.name))
        steps = {parents[process] for process in found} - found
        return found | {step for step in steps if "slurmstepd" in command_of(step)}

    def lose(self, node: str) -> None:
        """The node is gone from one moment to the next, with all that ran on it."""
        self._kill(node, self.processes(node))

    def cut_off(self, node: str) -> None:
        """Nobody can reach the node, but what runs there runs on."""
        self._kill(node, {process for process in self.processes(node) if "slurmstepd" in command_of(process)})

    def _kill(self, node: str, processes: set[int]) -> None:
        self.daemons[node].kill()
        self.daemons[node].wait()
        for process in processes:
            with_signal(process, signal.SIGKILL)

    def clear(self) -> None:
        """End all jobs."""
        self.said("scancel", "--user=root")
        until(lambda: not self.jobs() and self.idle() == len(NODES), "all nodes are free again")

    def stop(self) -> None:
        self.said("scancel", "--user=root")
        until(lambda: not self.jobs(), "no job is left")
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def with_signal(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def command_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


@contextmanager
def cluster(root: Path) -> Iterator[Cluster]:
    one = Cluster(root)
    try:
        one.start()
        yield one
    finally:
        one.stop()
