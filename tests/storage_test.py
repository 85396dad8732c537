"""A folder is replaced by a whole one, or stays."""

import os
import platform
import subprocess
import sys
import time

import pytest

from dtc_jax import storage
from dtc_jax.errors import InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "answer").mkdir()
    (tmp_path / "answer" / "old").write_text("1")
    return tmp_path / "answer"


def _replace(folder, last=lambda: None):
    """Replaces a folder; `last` comes when the new one is whole."""
    with storage.atomic_folder(folder) as partial:
        (partial / "new").write_text("2")
        last()


def _names(folder):
    return sorted(path.name for path in folder.parent.rglob("*"))


def _stop(*_):
    raise KeyboardInterrupt


def test_a_folder_is_replaced(folder):
    _replace(folder)
    assert _names(folder) == ["answer", "new"]


def test_a_folder_stays_where_the_new_one_is_not_whole(folder):
    with pytest.raises(KeyboardInterrupt):
        _replace(folder, _stop)
    assert _names(folder) == ["answer", "old"]


def test_a_folder_comes_back_where_the_change_to_the_new_one_is_stopped(folder, monkeypatch):
    replace = os.replace

    def stop(source, target):
        if (source / "new").exists():
            raise KeyboardInterrupt
        replace(source, target)

    with pytest.raises(KeyboardInterrupt):
        _replace(folder, lambda: monkeypatch.setattr(os, "replace", stop))
    assert _names(folder) == ["answer", "old"]


def test_what_is_no_file_is_said(folder):
    for path, words in ((folder, "is a folder"), (folder / "none", "no such file")):
        with (
            pytest.raises(InputError, match=f"{words}; give the path of a letter"),
            storage.no_file_is_an_input_error(path, "a letter"),
        ):
            path.read_bytes()


def _dead_pid():
    """Of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def _left(folder, pid, node=None):
    left = folder / f".partial-{node or platform.node()}-{pid}-abc_12"
    left.mkdir()
    (left / "half").write_text("h")
    return left


def test_what_a_dead_process_left_is_removed_and_a_living_ones_stays(tmp_path):
    dead, alive = _left(tmp_path, _dead_pid()), _left(tmp_path, os.getppid())
    elsewhere, other = _left(tmp_path, _dead_pid(), "elsewhere"), tmp_path / ".partial-notes"
    other.mkdir()
    storage.remove_dead(tmp_path)
    assert not dead.exists()
    assert alive.exists()
    assert elsewhere.exists()
    assert other.exists()
    storage.remove_dead(tmp_path / "none")


def test_the_next_replacement_removes_what_the_dead_left(folder):
    left = _left(folder.parent, _dead_pid())
    _replace(folder)
    assert not left.exists()


def test_a_folder_that_a_kill_left_aside_comes_back(folder):
    left = _left(folder.parent, _dead_pid())
    (left / "replaced").mkdir()
    os.replace(folder, left / "replaced" / "answer")
    storage.remove_dead(folder.parent)
    assert _names(folder) == ["answer", "old"]


def test_a_scratch_folder_names_its_process(folder):
    with storage.atomic_folder(folder) as partial:
        assert f"-{os.getpid()}-" in partial.parent.name
        storage.remove_dead(folder.parent)
        assert partial.exists()


def test_a_scratch_folder_outlives_another_threads_search_for_the_dead(tmp_path, monkeypatch):
    mkdir = os.mkdir

    def in_between(path, *arguments, **keywords):  # the other thread's turn, at the worst moment
        mkdir(path, *arguments, **keywords)
        monkeypatch.setattr(os, "mkdir", mkdir)
        storage.remove_dead(tmp_path)

    monkeypatch.setattr(os, "mkdir", in_between)
    storage.write_text(tmp_path / "a.txt", "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_whatever_is_written_into_a_folder_removes_what_the_dead_left(tmp_path):
    left = _left(tmp_path, _dead_pid())
    storage.write_text(tmp_path / "a.txt", "a")
    assert not left.exists()


def test_what_an_earlier_process_of_the_same_number_left_is_removed(tmp_path):
    left = _left(tmp_path, os.getpid())  # in a container each process may be number 1
    storage.remove_dead(tmp_path)
    assert not left.exists()


def test_what_another_machine_left_is_removed_after_a_week(tmp_path):
    new, old = _left(tmp_path, 1, "elsewhere"), _left(tmp_path, 1, "a-container")
    week_ago = time.time() - 8 * 24 * 3600
    os.utime(old, (week_ago, week_ago))
    storage.remove_dead(tmp_path)
    assert new.exists()
    assert not old.exists()


def test_a_folder_that_another_process_puts_there_meanwhile_is_replaced(folder, monkeypatch):
    replace = os.replace

    def late(source, target):
        if (source / "new").exists() and not target.exists():
            target.mkdir()
            (target / "theirs").write_text("3")
            monkeypatch.setattr(os, "replace", replace)
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    _replace(folder)
    assert _names(folder) == ["answer", "new"]


def test_what_is_announced_is_seen_for_as_long_as_it_holds(tmp_path):
    with storage.announced(tmp_path, ["a"]), storage.announced(tmp_path, ["b"]):
        assert sorted(storage.announcements(tmp_path)) == [["a"], ["b"]]
    assert storage.announcements(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_only_plain_characters_are_handed_to_other_libraries():
    tried = [chr(number) for number in range(1, 0x300)] + ["肺", "\u200b", "\u202e", "\udcff"]
    plain = {letter for letter in tried if storage.is_plain(letter)}
    assert not plain & {*"[]*?{}\\!$^|<>&#~'\"`\n\t\r", "\u200b", "\u202e", "\udcff"}
    assert {*"aZ09_/ .,:;=+@%-é", "肺"} <= plain


def test_any_folder_has_a_plain_path_to_it(tmp_path):
    odd = tmp_path / "a[1] ** \\ \udcff\n"
    odd.mkdir()
    plain = storage.plain_path(odd)
    assert storage.is_plain(plain)
    (plain / "file").write_text("here")
    assert (odd / "file").read_text() == "here"
    assert storage.plain_path(odd) == plain  # one link, however often
    (tmp_path / "plain").mkdir()
    assert storage.plain_path(tmp_path / "plain") == tmp_path / "plain"


@pytest.mark.parametrize("atomic", [storage.atomic, storage.atomic_folder])
def test_a_device_is_not_replaced(tmp_path, atomic):
    device = tmp_path / "null"
    os.mkfifo(device)
    with pytest.raises(InputError, match="null: cannot be written"), atomic(device):
        pass
    assert _names(device) == ["null"]
    assert device.is_fifo()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux")
@pytest.mark.parametrize("atomic", [storage.atomic, storage.atomic_folder])
@pytest.mark.parametrize("place", ["/proc", "/sys"])
def test_where_not_even_root_can_write_is_one_message(atomic, place):
    with pytest.raises(InputError, match="answer: cannot be written"), atomic(f"{place}/answer"):
        pass


def test_a_file_is_not_replaced_by_a_folder_nor_a_folder_by_a_file(folder):
    file = folder / "old"
    with pytest.raises(InputError, match="old: cannot be written"):
        _replace(file)
    with pytest.raises(InputError, match="answer: cannot be written"), storage.atomic(folder):
        pass
    assert file.read_text() == "1"
    assert _names(folder) == ["answer", "old"]
