"""The engines `ray` and `slurm` on this machine: the same outcomes as those of `local`."""

import functools
import os
import pathlib
import signal
import subprocess
import sys

import jax
import pytest

from dtc_jax.errors import InputError, Stopped, UsageError
from dtc_jax.sweep import engines
from dtc_jax.sweep.jobs import Resources
from tests import processes

# On a machine that is busy with other tests.
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")

pytestmark = [
    pytest.mark.extras,
    # Ray and submitit leave a pipe to their processes to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(params=["ray", "slurm, by submitit's own processes", "slurm"])
def engine(request):
    found = engines.get(request.param.partition(",")[0], Resources(cores=1))
    if request.param == "ray":
        return found
    if request.param == "slurm":
        request.getfixturevalue("slurm")
        return functools.partial(found, resources=_little())
    return functools.partial(found, cluster="local", resources=_little())


def _little():
    return Resources(cores=1, slurm={"gpus_per_node": 0, "timeout_min": 5})


def test_jobs_end_fail_and_are_tried_again(engine, job, tmp_path):
    again = tmp_path / "again"
    dies_once = (
        f"import os\nif not os.path.exists({str(again)!r}):\n"
        f"    open({str(again)!r}, 'w')\n    os.kill(os.getpid(), 9)"
    )
    jobs = [
        job("never", "import sys; print('launch.py: bad luck', file=sys.stderr); sys.exit(1)"),
        job("second", dies_once),
        job("wrong", "raise SystemExit(2)"),
        job("good", "import os; print(os.getcwd())"),
    ]
    seen = set()
    outcomes = engine(jobs, 1, lambda running: seen.update(one.name for one in running))
    found = {o.name: (o.code, o.attempts, o.message) for o in outcomes}
    assert found == {
        "never": (1, 2, "bad luck"),
        "second": (0, 2, ""),
        "wrong": (2, 1, "exit code 2"),
        "good": (0, 1, ""),
    }
    assert seen <= set(found)
    assert jobs[-1].log.read_text() == f"{os.getcwd()}\n"


def test_where_looking_fails_no_trial_is_left_behind(engine, saves):
    def look(running):
        if saves.log.exists() and saves.log.read_text() == "ready\n":
            raise OSError("the folder is gone")

    with pytest.raises(OSError, match="the folder is gone"):
        list(engine([saves], 1, look))
    assert saves.log.read_text() == "ready\nsaved\n"


def test_a_signal_lets_the_trials_save_their_state(engine, saves):
    def look(running):
        if saves.log.exists() and saves.log.read_text() == "ready\n":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="SIGTERM"):
        list(engine([saves], 1, look))
    assert saves.log.read_text() == "ready\nsaved\n"


def test_ray_starts_beside_jax_without_a_warning(job, recwarn):
    jax.devices()  # starts its threads, as the checks of a sweep do
    outcomes = list(engines.get("ray", Resources(cores=1))([job("good", "")], 0, lambda _: None))
    assert [outcome.code for outcome in outcomes] == [0]
    assert [str(one.message) for one in recwarn if "fork" in str(one.message)] == []


def test_a_running_cluster_is_joined_by_its_address(job, tmp_path):
    (port,) = processes.free_ports(1)
    command = [pathlib.Path(sys.executable).with_name("ray"), "start", "--head", "--block"]
    options = [f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    one = job("good", "print('done')")
    code = (
        "import pathlib\n"
        "from dtc_jax.sweep import engines\n"
        "from dtc_jax.sweep.jobs import Job, Resources\n"
        f"job = Job({one.name!r}, {one.command!r}, *map(pathlib.Path, "
        f"{[str(one.workdir), str(one.log)]!r}))\n"
        f"engine = engines.get('ray', Resources(cores=1, ray_address='127.0.0.1:{port}'))\n"
        "print([outcome.code for outcome in engine([job], 0, lambda running: None)])\n"
    )
    with (tmp_path / "ray.log").open("wb") as log:
        cluster = subprocess.Popen([*command, *options], stdout=log, stderr=log)
    try:
        started = b"Ray runtime started"
        processes.until(lambda: started in (tmp_path / "ray.log").read_bytes(), seconds=120)
        said = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True)
    finally:
        cluster.terminate()
        cluster.wait(timeout=60)
    assert said.stdout == "[0]\n", said.stderr[-1000:]
    assert one.log.read_text() == "done\n"


def test_an_address_where_nothing_answers_is_refused(job):
    run = engines.get("ray", Resources(ray_address="127.0.0.1:1"))
    with pytest.raises(InputError, match=r"--ray_address=127.0.0.1:1: cannot be reached"):
        list(run([job("good", "")], 0, lambda running: None))


def test_more_than_there_is_is_refused(job):
    run = engines.get("ray", Resources(cores=1000))
    with pytest.raises(UsageError, match="--cores is 1000"):
        list(run([job("good", "")], 0, lambda running: None))


def test_a_machine_without_slurm_and_a_wrong_parameter_are_refused(job, monkeypatch):
    monkeypatch.setenv("PATH", "")
    todo = [job("good", "")]
    with pytest.raises(InputError, match=r"--engine=slurm"):
        list(engines.get("slurm")(todo, 0, lambda running: None))
    wrong = engines.get("slurm", Resources(slurm={"tiemout_min": 5}))
    with pytest.raises(InputError, match=r"--engine=slurm.*tiemout_min"):
        list(wrong(todo, 0, lambda running: None, cluster="local"))
