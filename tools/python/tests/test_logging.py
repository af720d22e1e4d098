"""The stdlib's logging through mirrors; captured descriptors."""

import io
import logging
import multiprocessing
import os
import subprocess
import sys
import threading

import pytest
import workers
from collect import Collect

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100, policy="block")


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_records_travel_whole(buffer, method):
    process = multiprocessing.get_context(method).Process(
        target=workers.logs, args=(buffer.mirror,)
    )
    everything, serious = Collect(), Collect(logging.ERROR)
    with linering.LogListener(buffer, everything, serious, respect_handler_level=True):
        process.start()
        process.join()
    debug, warning, error = everything.records
    assert serious.records == [error]
    assert (debug.getMessage(), debug.levelno, debug.levelname, debug.name) == (
        "debug 1",
        10,
        "DEBUG",
        "shop.till",
    )
    assert (debug.funcName, os.path.basename(debug.pathname), debug.module) == (
        "logs",
        "workers.py",
        "workers",
    )
    assert (debug.process, debug.processName) == (process.pid, process.name)
    assert debug.created <= warning.created <= error.created
    assert (warning.getMessage(), warning.customer, warning.exc_text) == ("two\nlines", 7, None)
    assert error.getMessage() == "cannot sell"
    assert error.exc_text.startswith("Traceback (most recent call last):\n")
    assert error.exc_text.endswith("KeyError: 'price'")
    formatted = io.StringIO()
    handler = logging.StreamHandler(formatted)
    handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
    handler.handle(error)
    assert formatted.getvalue().startswith(
        "ERROR:shop.till:cannot sell\nTraceback (most recent call last):\n"
    )


def test_who_reads_without_a_listener_gets_readable_lines(buffer):
    workers.logs(buffer.mirror)
    debug, warning, error = buffer.drain()
    assert (debug, debug.stream, debug.level) == ("debug 1", "log", "DEBUG")
    assert (warning, warning.level) == ("two\nlines", "WARNING")
    assert (
        error.startswith("cannot sell\nTraceback (most recent call last):\n")
        and error.level == "ERROR"
    )
    assert error.record.getMessage() == "cannot sell"


def test_what_is_no_record_is_stored_while_a_listener_runs(buffer):
    collect = Collect()
    mirror = buffer.mirror
    with linering.LogListener(buffer, collect) as listener:
        print("printed", file=mirror)
        workers.logs(mirror)
        with pytest.raises(RuntimeError, match="started already"):
            listener.start()
    assert len(collect.records) == 3
    assert buffer.read() == ("printed",)
    assert listener.handle(linering.Line("no record")) is False


@pytest.mark.parametrize("between", ["\x1e", "\x1f"])
def test_extra_that_json_cannot_hold_and_names_with_anything_in_them_arrive(buffer, between):
    mirror = buffer.mirror
    logger = logging.Logger(f"odd{between}name")
    logger.addHandler(linering.LogHandler(mirror))
    logger.info("message\x1e", extra={"what": object, "number": 1.5}, stack_info=True)
    mirror.send_eof()
    (line,) = buffer.drain()
    record = line.record
    assert (record.name, record.getMessage()) == ("odd name", "message\x1e")
    assert (record.what, record.number) == (repr(object), 1.5)
    assert record.exc_text is None and record.stack_info.startswith(
        "Stack (most recent call last):"
    )


@pytest.mark.parametrize("level", [1, logging.INFO, logging.CRITICAL, 300])
def test_every_field_of_a_record_arrives(buffer, level, monkeypatch):
    monkeypatch.setattr(logging, "logProcesses", level != 1)
    mirror, sent = buffer.mirror, Collect()
    logger = logging.Logger("fields", level=1)
    logger.addHandler(sent)
    logger.addHandler(linering.LogHandler(mirror))
    logger.log(level, "one %s", "two")
    logger.handle(
        logging.makeLogRecord({"msg": "one two", "name": "", "levelno": level, "levelname": ""})
    )
    mirror.send_eof()
    for line, record in zip(list(buffer.drain()), sent.records):
        expected = {**record.__dict__, "msg": "one two", "args": None}
        found = {**line.record.__dict__, "args": None}
        assert found.pop("relativeCreated") == pytest.approx(expected.pop("relativeCreated"))
        # The one has it to a millisecond, the other to less.
        assert found.pop("msecs") == pytest.approx(expected.pop("msecs"), abs=1)
        assert found == expected
    assert len(sent.records) == 2


def test_a_record_that_cannot_be_formatted_is_the_handlers_error_and_not_the_programs(
    buffer, capsys
):
    logger = logging.Logger("bad")
    logger.addHandler(linering.LogHandler(buffer.mirror))
    logger.info("%d", "no number")
    assert "--- Logging error ---" in capsys.readouterr().err


def test_a_listener_survives_what_it_cannot_make_a_record_of(buffer):
    mirror, collect = buffer.mirror, Collect()
    logger = logging.Logger("odd")
    logger.addHandler(linering.LogHandler(mirror))
    with linering.LogListener(buffer, collect):
        logger.handle(
            logging.LogRecord("odd", logging.INFO, "", None, "no line number", None, None)
        )
        mirror._send_record("\x1f" * 7 + "\x1efields that are none", logging.INFO)
        logger.info("after")
        mirror.send_eof()
    assert [(record.getMessage(), record.lineno is None) for record in collect.records] == [
        ("no line number", True), ("after", False),
    ]  # fmt: skip
    assert buffer.read() == ("fields that are none",)


@pytest.mark.parametrize("level", [-5, 20.5, 10**30])
def test_a_level_of_any_size_raises_nothing(buffer, level, capsys):
    mirror = buffer.mirror
    linering.LogHandler(mirror).handle(logging.makeLogRecord({"msg": "text", "levelno": level}))
    mirror.send_eof()
    (line,) = buffer.drain()
    assert (line, line.record.levelno) == ("text", level) and capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["bad \ud800 name", "caf\udcc3\udca9", "lone \udcff"])
def test_surrogates_do_not_shift_what_is_message_and_what_is_trace(buffer, text):
    mirror = buffer.mirror
    logger = logging.Logger("odd")
    logger.addHandler(linering.LogHandler(mirror))
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception(text)
    mirror.send_eof()
    (line,) = buffer.drain()
    shown = {"bad \ud800 name": "bad \\ud800 name", "caf\udcc3\udca9": "café"}.get(text, text)
    assert line.record.getMessage() == shown
    assert line.record.exc_text.startswith("Traceback") and line.record.exc_text.endswith(shown)


def test_a_big_extra_does_not_displace_the_message(buffer):
    mirror = buffer.mirror
    logger = logging.Logger("big")
    logger.addHandler(linering.LogHandler(mirror))
    logger.error("the disk is full", extra={"dump": "y" * 200_000, "number": 5})
    mirror.send_eof()
    (line,) = buffer.drain()
    assert (line.record.getMessage(), line.record.number) == ("the disk is full", 5)
    assert "yyy" in line.record.dump


def test_what_others_send_to_the_stream_of_loggers_is_a_line(buffer):
    mirror = buffer.mirror
    mirror._send_record("odd\x1e\x1ftext", logging.INFO)
    mirror.send_eof()
    (line,) = buffer.drain()
    assert (line, line.stream, line.record) == ("odd\x1e\x1ftext", "log", None)


def test_python_warnings_arrive_on_the_stream_of_errors(buffer):
    process = multiprocessing.get_context("spawn").Process(
        target=workers.warns_python, args=(buffer.mirror,)
    )
    process.start()
    lines = list(buffer.drain())
    process.join()
    assert "UserWarning: from python" in lines[0] and lines[0].stream == "stderr"


def test_what_c_code_and_subprocesses_print_is_captured():
    program = """
import linering, os, sys
buffer = linering.LineProcBuffer(100)
print("before")
with linering.capture(buffer) as mirror:
    os.write(1, b"from c\\n")
    os.system("echo from a shell; echo error >&2")
    print("from python", flush=True)
mirror.send_eof()
print("after", flush=True)
ends = buffer.wait()
assert {end.end for end in ends} == {"eof"}, ends
for line in buffer.read():
    print(line.worker, line.stream, line)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[:2] == ["before", "after"]
    assert sorted(done.stdout.splitlines()[2:]) == [
        "0 stderr error", "0 stdout from a shell", "0 stdout from c", "0 stdout from python",
    ]  # fmt: skip


def test_a_logger_of_linering_run_writes_for_people(buffer):
    """Another reader than Python's has no use for what `LogListener` needs."""
    environment = buffer.mirror.environ()
    del environment["LINERING_READER"]
    mirror = linering.LineProcMirror.from_environ(environment)
    logger = logging.Logger("plain")
    logger.addHandler(linering.LogHandler(mirror))
    logger.error("readable")
    mirror.send_eof()
    (line,) = buffer.drain()
    assert (line, line.level, line.record) == ("ERROR plain: readable", "ERROR", None)


def test_a_logger_whose_mirror_was_stopped_raises_stopped(buffer):
    """It is how a worker learns that it has nothing more to do."""
    logger = logging.Logger("stopped")
    logger.addHandler(linering.LogHandler(buffer.mirror))
    buffer.stop_all_mirrors()
    with pytest.raises(linering.Stopped):
        logger.error("too late")


def test_a_listener_that_has_stopped_leaves_records_to_others_and_starts_again(buffer):
    came = threading.Event()

    class Tells(Collect):
        def emit(self, record):
            super().emit(record)
            came.set()

    collect, mirror = Tells(), buffer.mirror
    logger = logging.Logger("again")
    logger.addHandler(linering.LogHandler(mirror))
    listener = linering.LogListener(buffer, collect)
    with listener:
        logger.error("one")
    logger.error("stored")
    assert buffer.read() == ("stored",)
    came.clear()
    with listener:
        logger.error("two")
        came.wait()
    assert [record.getMessage() for record in collect.records] == ["one", "two"]


def test_foreign_text_on_the_stream_of_loggers_is_stored_while_a_listener_runs(buffer):
    mirror = buffer.mirror
    with linering.LogListener(buffer, Collect()):
        mirror._send_record("no record", logging.INFO)
    assert buffer.read() == ("no record",)


def test_a_listener_notices_that_a_worker_died_before_it_logged(buffer):
    process = multiprocessing.get_context("fork").Process(
        target=workers.exits_before_it_prints, args=(buffer.mirror,)
    )
    with linering.LogListener(buffer, Collect()):
        process.start()
        while buffer.n_mirrors > 0:
            os.sched_yield()
    process.join()
    assert [end.end for end in buffer.wait()] == ["died"]


def captured(program):
    """Runs a program that has a buffer and a mirror; gives what it printed and what was
    captured.
    """
    program = f"""
import linering, os, resource, sys
buffer = linering.LineProcBuffer(100)
mirror = buffer.mirror
{program}
mirror.send_eof()
buffer.wait()
os.write(1, "".join(f"{{line.stream}} {{line}}\\n" for line in buffer.read()).encode())
"""
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_what_python_still_had_in_its_own_buffers_goes_where_it_was_printed():
    assert captured("""
sys.stdout.write("before the block\\n")
with linering.capture(mirror):
    sys.stdout.write("in the block\\n")
sys.stdout.write("after it\\n")
sys.stdout.flush()
""") == ["before the block", "after it", "stdout in the block"]  # fmt: skip


def test_a_process_without_python_streams_is_captured_all_the_same():
    assert captured("""
sys.stdout = sys.stderr = None
with linering.capture(mirror):
    os.write(2, b"from c\\n")
""") == ["stderr from c"]  # fmt: skip


def test_a_capture_that_the_system_refuses_has_changed_nothing():
    """It needs some descriptors: of which there are ever more, until there are enough."""
    found = captured("""
highest = max(map(int, os.listdir("/proc/self/fd")))
for room in range(100):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + room, most))
    try:
        with linering.capture(mirror):
            os.write(1, b"captured\\n")
        break
    except OSError:
        os.write(1, b"not captured\\n")
""")  # fmt: skip
    assert found[-1] == "stdout captured"
    assert len(found) > 3 and set(found[:-1]) == {"not captured"}


def test_a_listener_that_is_stopped_hands_on_all_that_has_come():
    buffer, count = linering.LineProcBuffer(10, policy="block", lines=8192), 5000
    logger, collect = logging.Logger("many"), Collect()
    mirror = buffer.mirror
    logger.addHandler(linering.LogHandler(mirror))
    for _ in range(count):
        logger.info("record")
    listener = linering.LogListener(buffer, collect)
    listener.start()
    listener.stop()
    assert len(collect.records) == count
    mirror.send_eof()
