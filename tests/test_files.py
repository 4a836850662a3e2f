import multiprocessing
import os
import stat

import pytest

from trilemma import files


class Kill(Exception):
    """Stands for a process that is killed."""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", [b"\x00\xff bytes", "words, ä", ""])
def test_a_file_holds_what_was_written(tmp_path, content):
    files.write_safely(str(tmp_path / "a.txt"), content)
    assert (tmp_path / "a.txt").read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(tmp_path) == ["a.txt"]


def test_a_file_can_be_read_by_everyone(tmp_path):
    files.write_safely(tmp_path / "a.txt", "words")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_what_fails_while_it_is_written_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    files.write_safely(tmp_path / "a.txt", "old")

    def fail(*_):
        raise Kill

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(Kill):
        files.write_safely(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_reader_never_sees_a_part_of_a_file(tmp_path, monkeypatch):
    files.write_safely(tmp_path / "a.txt", "old")
    seen, replace = [], os.replace

    def look(*paths):
        seen.append((tmp_path / "a.txt").read_text())
        replace(*paths)

    monkeypatch.setattr(os, "replace", look)
    files.write_safely(tmp_path / "a.txt", "new")
    assert seen == ["old"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_the_folder_of_a_file_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.write_safely(tmp_path / "nowhere" / "a.txt", "words")


def test_a_locked_folder_is_made_and_refuses_a_second_holder(tmp_path):
    folder = tmp_path / "new" / "folder"
    with files.locked(folder):
        with (
            pytest.raises(ValueError, match="another process is at work in .*new/folder; wait"),
            files.locked(folder, wait=False),
        ):
            pass
        with files.locked(tmp_path / "other", wait=False):
            pass
    with files.locked(folder, wait=False):
        pass


def test_a_lock_ends_with_an_error(tmp_path):
    with pytest.raises(Kill), files.locked(tmp_path):
        raise Kill
    with files.locked(tmp_path, wait=False):
        pass


@pytest.mark.filterwarnings("ignore:.*fork")
def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path):
    context = multiprocessing.get_context("fork")
    holding = context.Event()

    def hold():
        with files.locked(tmp_path):
            holding.set()
            multiprocessing.Event().wait(60)

    process = context.Process(target=hold)
    process.start()
    assert holding.wait(30)
    with pytest.raises(ValueError, match="another process"), files.locked(tmp_path, wait=False):
        pass
    process.kill()
    process.join()
    with files.locked(tmp_path, wait=False):
        pass


@pytest.mark.filterwarnings("ignore:.*fork")
def test_processes_that_wait_come_one_after_the_other(tmp_path):
    def count():
        for _ in range(50):
            with files.locked(tmp_path):
                (tmp_path / "count").write_text(str(int((tmp_path / "count").read_text()) + 1))

    (tmp_path / "count").write_text("0")
    processes = [multiprocessing.get_context("fork").Process(target=count) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "count").read_text() == "100"


def test_whether_a_folder_is_writable_is_tried(tmp_path):
    assert files.is_writable(tmp_path / "new" / "folder")
    assert names(tmp_path / "new" / "folder") == []
    (tmp_path / "file").write_text("")
    assert not files.is_writable(tmp_path / "file")
    assert not files.is_writable(tmp_path / "file" / "folder")
    assert not files.is_writable("/proc/nowhere")
