import os
import subprocess
import sys
import time

import pytest

from dtc_jax.crops import processes
from dtc_jax.errors import InputError


def _square(x):
    return x * x, os.getpid()


def _die(x):
    os._exit(1)


def test_short_work_starts_no_processes():
    results = list(processes.ordered_map(_square, range(5), 2))
    assert results == [(x * x, os.getpid()) for x in range(5)]


def test_long_work_is_done_by_processes_in_order(monkeypatch):
    monkeypatch.setattr(processes, "_ALONE_SECONDS", -1.0)
    results = list(processes.ordered_map(_square, range(20), 2))
    assert [square for square, _ in results] == [x * x for x in range(20)]
    assert os.getpid() not in {pid for _, pid in results}


def test_a_killed_worker_is_an_input_error(monkeypatch):
    monkeypatch.setattr(processes, "_ALONE_SECONDS", -1.0)
    with pytest.raises(InputError, match="memory"):
        list(processes.ordered_map(_die, range(4), 2))


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    code = (
        "import sys\n"
        "from dtc_jax.crops import processes\n"
        "processes._ALONE_SECONDS = -1.0\n"
        "if __name__ == '__main__':\n"
        "    import os\n"
        "    for pid in processes.ordered_map(int, ['1'] * 100, 2):\n"
        "        import multiprocessing as m\n"
        "        print(*[p.pid for p in m.active_children()], flush=True)\n"
        "        import time; time.sleep(60)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    )
    with parent:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "orphaned worker processes"
        time.sleep(0.05)


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_script_that_workers_would_run_again_ends_with_what_to_do(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import math\n"
        "from dtc_jax.crops import processes\n"
        "processes.refuse_unguarded_script()\n"
        "processes._ALONE_SECONDS = -1\n"
        "print(list(processes.ordered_map(math.sqrt, [1.0, 4.0], 2)))\n"
    )
    command = [sys.executable, str(script)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode
    assert "below if __name__ == '__main__':" in ended.stderr
    assert "see its message above" in ended.stderr
    text = script.read_text().splitlines()
    guarded = ["if __name__ == '__main__':", *(f"    {line}" for line in text[2:])]
    script.write_text("\n".join([*text[:2], *guarded]))
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "[1.0, 2.0]\n"
