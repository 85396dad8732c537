"""Slurm on this machine alone: a controller and one node on loopback."""

import contextlib
import getpass
import os
import pathlib
import platform
import secrets
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests import processes

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "sinfo")
_CONFIG = """ClusterName=alone
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Slurm's commands reach one node of four cores, which it does not have to have."""
    # The daemons are not where a user's commands are.
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))
    if missing := [name for name in _PROGRAMS if shutil.which(name, path=path) is None]:
        pytest.skip(f"needs Slurm (Debian's slurm-wlm): {', '.join(missing)} not found")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o400)
    config = folder / "slurm.conf"
    fields = {"host": platform.node().partition(".")[0], "user": getpass.getuser()}
    config.write_text(_CONFIG.format(folder=folder, ports=processes.free_ports(2), **fields))
    files = {name: folder / f"munge.{name}" for name in ("socket", "key", "seed", "log", "pid")}
    options = [f"--{'socket' if k == 'socket' else f'{k}-file'}={v}" for k, v in files.items()]
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("PATH", path)
        patch.setenv("SLURM_CONF", str(config))
        for command in (
            ["munged", "--foreground", "--force", *options],
            ["slurmctld", "-D", "-c"],
            ["slurmd", "-D"],
        ):
            stack.enter_context(_running(command, folder))
        try:
            processes.until(_is_idle, seconds=60)
            run = ["srun", "--ntasks=2", "--cpus-per-task=1", "true"]
            subprocess.run(run, check=True, capture_output=True, timeout=60)
        except (AssertionError, subprocess.SubprocessError):
            logs = "\n".join(p.read_text()[-500:] for p in folder.glob("*.log"))
            pytest.skip(f"Slurm does not start here:\n{logs}")
        yield


@contextlib.contextmanager
def _running(command: list[str], folder: pathlib.Path) -> Iterator[None]:
    """A program that runs for as long as the block lasts."""
    with (folder / f"{command[0]}.out.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_idle() -> bool:
    said = subprocess.run(["sinfo", "--noheader", "--format=%t"], capture_output=True, text=True)
    return said.stdout.strip() == "idle"
