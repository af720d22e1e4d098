"""Rings with a name, and in files: found by other processes, observed, and recovered."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
import uuid

import pytest
import workers

import linering


@pytest.fixture
def where():
    """A name for a ring."""
    return {"name": f"linering-python-tests-{uuid.uuid4()}"}


@pytest.fixture(params=["name", "file"])
def each(request, where, tmp_path):
    """A name, or a file."""
    return where if request.param == "name" else {"file": tmp_path / "ring"}


def program(text, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)], capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


ATTACH = """
import linering, sys
mirror = linering.LineProcMirror.attach(**eval(sys.argv[1]), label="other")
with mirror:
    print("from elsewhere")
"""
CRASH = """
import linering, os, signal, sys
buffer = linering.LineProcBuffer(100, policy="block", **eval(sys.argv[1]))
mirror = buffer.new_mirror("crashed")
print("whole", file=mirror)
print("not wh", end="", file=mirror)
os.kill(os.getpid(), signal.SIGKILL)
"""


def said(**where):
    return repr({key: str(value) for key, value in where.items()})


def test_another_process_attaches(each):
    buffer = linering.LineProcBuffer(100, **each)
    assert program(ATTACH, said(**each)) == (0, "", "")
    (end,) = buffer.wait()
    assert (end.label, end.end, end.lines) == ("other", "eof", 1)
    (line,) = buffer.read()
    assert (line, line.label, line.damaged) == ("from elsewhere", "other", False)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_process_that_attached_find_the_ring(each, method):
    buffer = linering.LineProcBuffer(100, **each)
    mirror = linering.LineProcMirror.attach(**each)
    process = workers.start(method, workers.hello, mirror)
    process.join()
    mirror.send_eof()
    buffer.wait()
    assert sorted(map(str, buffer.read())) == ["hello world", "oh"]


def test_what_a_crash_has_left_is_observed_and_recovered(each):
    assert program(CRASH, said(**each))[0] == -signal.SIGKILL
    for _ in range(2):
        lines, ends = linering.observe(**each)
        assert [(str(line), line.unfinished) for line in lines] == [
            ("whole", False), ("not wh", True)
        ]  # fmt: skip
        assert [(end.label, end.end) for end in ends] == [("crashed", "died")]
    buffer = linering.LineProcBuffer.recover(**each, maxlen=100)
    assert [(end.label, end.end) for end in buffer.wait()] == [("crashed", "died")]
    assert buffer.read() == ("whole", "not wh")
    with pytest.raises(TypeError, match="make another buffer"):
        buffer.reset_states()


def test_a_ring_whose_reader_died_goes_on(tmp_path):
    where = {"file": tmp_path / "ring"}
    program(CRASH, said(**where))
    buffer = linering.LineProcBuffer.recover(**where, maxlen=100)
    assert program(ATTACH, said(**where)) == (0, "", "")
    with buffer.mirror:
        print("own")
    with buffer.executor(1) as executor:
        executor.submit(workers.prints_and_returns, 1).result()

    async def drain():
        return [str(line) async for line in buffer.drain()]

    lines = asyncio.run(drain())
    # The last words come when the reader notices the death.
    assert sorted(lines) == ["1", "error 1", "from elsewhere", "not wh", "own", "whole"]


def test_a_living_ring_is_observed(each):
    buffer = linering.LineProcBuffer(100, **each)
    mirror = buffer.mirror
    print("one\ntwo", file=mirror)
    print("begun", end="", file=mirror)
    assert [str(line) for line in linering.observe(**each)[0]] == ["one", "two"]
    assert buffer.read() == ("one", "two")


def test_a_ring_is_followed_until_no_process_uses_it(each):
    buffer = linering.LineProcBuffer(100, **each)
    observer = linering.Observer(**each)
    mirror = buffer.new_mirror("web")
    print("there", file=mirror)
    came = observer.follow()
    assert next(came) == "there"
    for number in range(300):
        print(number, file=mirror)
        # Taken at once.
        assert str(next(came)) == str(number)
        buffer.read()
    mirror.send_eof()
    ended = next(came)
    assert (ended.label, ended.end) == ("web", "eof")
    assert observer.is_used()
    buffer.wait()
    buffer.mirror.send_eof()
    del buffer, mirror
    gc.collect()
    assert [item for item in came if not isinstance(item, linering.Ended)] == []
    assert not observer.is_used()


def test_what_passes_by_is_counted(each):
    buffer = linering.LineProcBuffer(16, policy="overwrite", **each)
    observer = linering.Observer(**each)
    came = observer.follow()
    mirror = buffer.new_mirror("web")
    print("first", file=mirror)
    assert next(came) == "first"
    capacity = observer.statistics().capacity
    for number in range(3 * capacity):
        print(number, file=mirror)
    passed = next(came)
    assert isinstance(passed, linering.PassedBy)
    assert passed.count >= 2 * capacity
    assert str(next(came)) == str(passed.count)
    mirror.send_eof()


def test_statistics_say_who_writes_and_how_far(each):
    buffer = linering.LineProcBuffer(100, policy="drop", **each)
    mirror = buffer.new_mirror("web")
    print("one\ntwo", file=mirror)
    found = linering.Observer(**each).statistics()
    # Short lines may share a slot.
    assert (found.policy, found.unread) == ("drop", found.written)
    assert 1 <= found.written <= 2
    assert (found.has_reader, found.is_used, found.stopped) == (True, True, False)
    assert found.capacity >= 100
    assert time.time() - 60 < found.created <= time.time()
    (web,) = [writer for writer in found.writers if writer.label == "web"]
    assert (web.state, web.lines, web.dropped) == ("open", found.written, 0)
    assert web.pid == os.getpid()
    mirror.send_eof()


def test_a_ring_has_one_reader(each):
    buffer = linering.LineProcBuffer(100, **each)
    with pytest.raises(RuntimeError, match="reads the ring already, expected no other reader"):
        linering.LineProcBuffer.recover(**each)
    with pytest.raises(FileExistsError):
        linering.LineProcBuffer(100, **each)
    assert buffer.wait() == []


def test_what_is_no_ring_is_said(tmp_path):
    uses = (
        linering.observe,
        linering.Observer,
        linering.LineProcMirror.attach,
        linering.LineProcBuffer.recover,
    )
    for use in uses:
        with pytest.raises(FileNotFoundError):
            use(file=tmp_path / "none")
        with pytest.raises(FileNotFoundError):
            use("no-such-ring-of-linerings-tests")
        with pytest.raises(ValueError, match="a name or a file"):
            use()
        with pytest.raises(ValueError, match="a name or a file"):
            use("name", file=tmp_path / "none")
        (tmp_path / "text").write_text("no ring" * 1000)
        with pytest.raises(OSError):
            use(file=tmp_path / "text")


def test_a_name_goes_with_its_buffer(where):
    for _ in range(2):
        buffer = linering.LineProcBuffer(100, **where)
        del buffer


def test_a_file_that_rotates(tmp_path):
    path = tmp_path / "log"
    log = linering.RotatingFile(path, 20, keep=2)
    for number in range(5):
        log.write_line(f"line {number} of them")
    log.write_bytes(b"last\n")
    names = sorted(os.listdir(tmp_path))
    assert names == ["log", "log.1", "log.2"]
    assert (tmp_path / "log.1").read_text() == "line 3 of them\n"
    assert path.read_text() == "line 4 of them\nlast\n"
    with pytest.raises(FileNotFoundError):
        linering.RotatingFile(tmp_path / "no" / "log", 20)
    with pytest.raises(OSError):
        linering.RotatingFile(path, 0)


def test_a_handler_finds_its_mirror_in_the_environment():
    buffer = linering.LineProcBuffer(100)
    text = """
import linering, logging, os, sys
first, second = linering.LogHandler(), linering.LogHandler()
assert first.mirror is second.mirror
logging.getLogger().addHandler(first)
logging.getLogger().setLevel("INFO")
logging.info("parent")
if os.fork() == 0:
    logging.getLogger("child").warning("child")
    os._exit(0)
os.wait()
"""
    environ = buffer.mirror.environ()
    done = subprocess.run([sys.executable, "-c", text], env=environ, capture_output=True, text=True)
    assert done.stderr == ""
    buffer.wait()
    assert [(line.record.name, str(line)) for line in buffer.read()] == [
        ("root", "parent"), ("child", "child")
    ]  # fmt: skip


def test_a_handler_that_finds_none_says_so(monkeypatch):
    monkeypatch.delenv("LINERING_SEAT", raising=False)
    with pytest.raises(LookupError, match="found no LINERING_SEAT in the environment"):
        linering.LogHandler()
