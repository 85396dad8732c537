"""Rows that can be trusted after a restart, event files TensorBoard reads, a sign of life."""

import io
import json
import resource
import struct

import pytest
from tensorboardX.proto import event_pb2

from dtc_jax.errors import InputError
from dtc_jax.training import logs


def _logs(workdir, step=0, rows=0, seconds=0.0):
    return logs.Logs(
        workdir, step=step, rows=rows, total_steps=10, steps_per_epoch=4, seconds=seconds
    )


def _events(workdir):
    """All events of a folder; the file format is length, checksum, bytes, checksum."""
    for path in sorted((workdir / "tensorboard").iterdir(), key=lambda p: p.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield event_pb2.Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def test_a_row_says_where_and_what(tmp_path):
    with _logs(tmp_path, seconds=100.0) as log:
        log.write(6, "validation", {"loss": 0.25, "auc": float("nan")})
    (row,) = logs.read(tmp_path)
    assert list(row) == ["step", "epoch", "seconds", "validation/auc", "validation/loss"]
    assert (row["step"], row["epoch"], row["validation/loss"]) == (6, 1.5, 0.25)
    assert row["validation/auc"] is None  # JSON has no NaN
    assert 100 <= row["seconds"] < 110


def test_going_on_drops_what_a_killed_run_wrote_too_much(tmp_path):
    with _logs(tmp_path) as log:
        for step in (2, 4, 6):
            log.write(step, "train", {"loss": 1.0 / step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "tra')
    assert [row["step"] for row in logs.read(tmp_path)] == [2, 4, 6]
    with _logs(tmp_path, step=5, rows=2) as log:
        assert log.rows == 2
        log.write(6, "train", {"loss": 0.5})
        assert log.rows == 3
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]
    assert json.loads(lines[-1])["train/loss"] == 0.5


def test_a_torn_row_is_not_counted_and_a_lost_file_starts_afresh(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 2}\n{"step": 4, "tr')
    with _logs(tmp_path, step=5, rows=2) as log:
        assert log.rows == 1
    (tmp_path / "metrics.jsonl").unlink()
    with _logs(tmp_path, step=5, rows=2) as log:
        assert log.rows == 0


def test_event_files_hold_the_scalars_and_purge_what_is_done_again(tmp_path):
    with _logs(tmp_path) as log:
        log.write(2, "train", {"loss": 0.5})
        log.write(4, "train", {"loss": 0.25})
    with _logs(tmp_path, step=3, rows=1) as log:
        log.write(4, "train", {"loss": 0.125})
    events = list(_events(tmp_path))
    scalars = [(e.step, v.tag, v.simple_value) for e in events for v in e.summary.value]
    assert scalars == [(2, "train/loss", 0.5), (4, "train/loss", 0.25), (4, "train/loss", 0.125)]
    starts = [e.step for e in events if e.session_log.status == event_pb2.SessionLog.START]
    assert starts == [4]  # TensorBoard forgets steps from 4 on written before


def test_plain_lines_without_a_terminal(tmp_path, capsys):
    with _logs(tmp_path) as log:
        log.advance(1)
        log.write(1, "train", {"loss": 1.0})
        log.advance(5)
        log.write(5, "train", {"loss": 0.5})
        log.write(10, "train", {"loss": 0.25})
    first, middle, last = capsys.readouterr().err.splitlines()
    assert first.endswith("train/loss 1")  # the first step compiles: nothing to go by yet
    assert middle.startswith("step 5/10  epoch 1.25  train/loss 0.5")
    assert middle.endswith("s left")
    assert last.endswith("train/loss 0.25")


def test_a_bar_on_a_terminal(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with _logs(tmp_path, step=4) as log:
        for step in range(5, 11):
            log.advance(step)
        log.write(10, "train", {"loss": 0.25})
    assert "4/10" in terminal.getvalue()  # goes on where the run stood
    assert "10/10" in terminal.getvalue()
    assert "step 10/10  epoch 2.5  train/loss 0.25" in terminal.getvalue()


def test_a_full_disk_is_an_input_error(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with _logs(tmp_path) as log:
        log.write(1, "train", {"loss": 0.5})
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))  # as if the disk were full
        try:
            with pytest.raises(InputError, match=r"metrics\.jsonl: no space left"):
                log.write(2, "train", {"loss": 0.5})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
