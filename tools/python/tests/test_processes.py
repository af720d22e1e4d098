"""`popen`, `executor` and `pool`: output that comes without a word in the programs and tasks."""

import concurrent.futures
import multiprocessing
import signal
import subprocess
import sys
import threading

import pytest
import workers

import linering

METHODS = multiprocessing.get_all_start_methods()


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(10_000, policy="block")


def shell(buffer, program, **options):
    return buffer.popen(["sh", "-c", program], **options)


# ----------------------------------------------------------------------------------------- programs


@pytest.mark.parametrize(
    ("program", "end", "code", "words"),
    [
        ("exit 0", "eof", 0, "-- worker sh ended --"),
        ("exit 3", "died", 3, "-- worker sh exited with 3, no EOF --"),
        ("kill -9 $$", "died", -9, "-- worker sh was killed, SIGKILL --"),
    ],
)
def test_a_programs_output_and_its_end(buffer, program, end, code, words):
    process = shell(buffer, f"echo out; echo error >&2; {program}")
    (ended,) = buffer.wait()
    assert (ended.end, ended.exit, ended.lines, str(ended)) == (end, code, 2, words)
    assert ended.is_failure == (code != 0)
    assert process.wait() == code
    assert {(line, line.stream, line.worker, line.label) for line in buffer.read()} == {
        ("out", "stdout", ended.worker, "sh"),
        ("error", "stderr", ended.worker, "sh"),
    }


def test_options_are_those_of_subprocess(buffer, tmp_path):
    process = buffer.popen("read line; pwd; echo $line $WORD", label="asked", shell=True,
                           stdin=subprocess.PIPE, cwd=tmp_path, env={"WORD": "there"}, text=True)
    process.communicate("hello\n")
    assert [end.label for end in buffer.wait()] == ["asked"]
    assert buffer.read() == (str(tmp_path), "hello there")
    with pytest.raises(TypeError, match="found the option 'stdout'"):
        buffer.popen(["true"], stdout=subprocess.PIPE)


def test_a_program_that_is_not_there_is_no_worker(buffer):
    with pytest.raises(FileNotFoundError):
        buffer.popen(["/no/such"])
    assert buffer.wait() == []


def test_a_program_that_prints_much_and_many_of_them(buffer):
    for _ in range(4):
        buffer.popen(["seq", "5000"])
    lines = list(buffer.drain())
    assert len(lines) == 20_000
    for worker in {line.worker for line in lines}:
        assert [int(line) for line in lines if line.worker == worker] == list(range(1, 5001))


def test_what_it_started_in_the_background_is_waited_for(buffer):
    process = shell(buffer, "(read line; echo late) <&3 & exit 1", stdin=subprocess.PIPE,
                    preexec_fn=lambda: __import__("os").dup2(0, 3), pass_fds=[3])
    assert process.wait() == 1
    with pytest.raises(TimeoutError):
        buffer.wait(timeout=0)
    process.stdin.close()
    assert [end.exit for end in buffer.wait()] == [1]
    assert buffer.read() == ("late",)


def test_a_program_that_knows_of_linering_has_the_same_number(buffer):
    program = "import linering; linering.LogHandler().handle(__import__('logging').makeLogRecord("
    buffer.popen([sys.executable, "-c", program + "{'msg': 'logged', 'levelno': 20})); print('x')"])
    (end,) = buffer.wait()
    assert {(str(line), line.stream, line.worker) for line in buffer.read()} == {
        ("logged", "log", end.worker), ("x", "stdout", end.worker)
    }  # fmt: skip


def test_programs_of_greenlets_let_others_run():
    program = """
import gevent.monkey
gevent.monkey.patch_all()
import gevent, linering
buffer = linering.LineProcBuffer(100)
seen = []
other = gevent.spawn(lambda: seen.append("other"))
process = buffer.popen(["sh", "-c", "read line; echo $line"], stdin=-1)
gevent.sleep(0)
process.stdin.write(b"hello\\n")
process.stdin.close()
buffer.wait()
print(seen, *buffer.read())
"""
    pytest.importorskip("gevent")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['other'] hello\n", "")


# -------------------------------------------------------------------------------------------- tasks


def context(method):
    return multiprocessing.get_context(method)


@pytest.mark.parametrize("method", METHODS)
def test_tasks_of_an_executor(buffer, method):
    with buffer.executor(2, mp_context=context(method)) as executor:
        futures = [executor.submit(workers.prints_and_returns, number) for number in range(6)]
        lines = list(buffer.drain())
        ends = buffer.wait()
        assert [future.result() for future in futures] == list(range(6))
    assert sorted(map(str, lines)) == sorted([*"012345", *(f"error {n}" for n in range(6))])
    assert [(end.end, end.label) for end in ends] == [("eof", "prints_and_returns")] * 6


@pytest.mark.parametrize("call", ["map", "imap", "starmap", "apply_async", "apply"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_tasks_of_a_pool(buffer, method, call):
    with buffer.pool(2, context=context(method)) as pool:
        numbers = range(6)
        work = workers.prints_and_returns
        results = {
            "map": lambda: pool.map(work, numbers),
            "imap": lambda: list(pool.imap(work, numbers)),
            "starmap": lambda: pool.starmap(work, [(number,) for number in numbers], chunksize=4),
            "apply_async": lambda: [
                it.get() for it in [pool.apply_async(work, (number,)) for number in numbers]
            ],
            "apply": lambda: [pool.apply(work, (number,)) for number in numbers],
        }[call]()
        ends = buffer.wait()
    assert results == list(numbers)
    assert sorted(map(str, buffer.read())) == sorted([*"012345", *(f"error {n}" for n in numbers)])
    assert {(end.end, end.label) for end in ends} == {("eof", "prints_and_returns")}


def test_chunks_of_an_executor_have_the_functions_name(buffer):
    with buffer.executor(2) as executor:
        found = executor.map(workers.prints_and_returns, range(10), chunksize=5)
        assert list(found) == list(range(10))
    ends = buffer.wait()
    assert [(end.label, end.lines) for end in ends] == [("prints_and_returns", 10)] * 2


def test_more_tasks_than_there_are_seats():
    buffer = linering.LineProcBuffer(1000, policy="block", seats=64, mirrors=64)
    mirror = buffer.new_mirror("main")
    # A seat is free again when the reader has taken its end, after the two lines of its task.
    unread = threading.Semaphore(20)

    def read():
        for count, _ in enumerate(buffer.drain(), 1):
            if count % 2 == 0:
                unread.release()
        return count

    with concurrent.futures.ThreadPoolExecutor(1) as reader, buffer.executor(2) as executor:
        lines = reader.submit(read)
        futures = []
        for number in range(200):
            unread.acquire()
            futures.append(executor.submit(workers.prints_and_returns, number))
        assert [future.result() for future in futures] == list(range(200))
        mirror.send_eof()
        assert lines.result() == 400
    assert len(buffer.wait()) == 201


def test_tasks_of_a_pool_that_find_no_seat_fail_and_hold_nothing_up():
    buffer = linering.LineProcBuffer(1000, policy="block", seats=8, mirrors=8)
    with buffer.pool(1) as pool:
        result = pool.map_async(workers.prints_and_returns, range(100), chunksize=1)
        buffer.wait()
        with pytest.raises(OSError, match="more need the option `seats`"):
            result.get()


def test_a_task_that_fails_is_told(buffer):
    with buffer.executor(1) as executor:
        failing = executor.submit(workers.divides, 1, 0)
        working = executor.submit(workers.divides, 4, 2)
        assert isinstance(failing.exception(), ZeroDivisionError) and working.result() == 2
    assert [(end.label, end.end) for end in buffer.wait()] == [
        ("divides", "error"), ("divides", "eof")
    ]  # fmt: skip
    (message,) = [it for it in buffer.read() if isinstance(it, linering.GroupedMessage)]
    assert message.type == "error" and "ZeroDivisionError" in str(message)


@pytest.mark.parametrize("method", METHODS)
def test_a_task_that_is_killed_holds_nothing_up(buffer, method):
    with buffer.executor(2, mp_context=context(method)) as executor:
        futures = [executor.submit(workers.kills_the_process, number) for number in range(8)]
        ends = buffer.wait()
        assert any(future.exception() for future in futures)
    assert "died" in {end.end for end in ends}


def test_a_task_of_a_pool_that_is_killed_holds_nothing_up(buffer):
    """Though its pool waits for its result for ever."""
    with buffer.pool(2) as pool:
        pool.apply_async(workers.kills_the_process, (0,))
        assert [end.end for end in buffer.wait()] == ["died"]


def test_tasks_that_never_come_to_a_worker_hold_nothing_up(buffer):
    with buffer.executor(1) as executor:
        futures = [executor.submit(workers.prints_and_returns, number) for number in range(20)]
        executor.shutdown(wait=True, cancel_futures=True)
    assert any(future.cancelled() for future in futures)
    ends = buffer.wait()
    assert {end.end for end in ends} == {"eof"} and len(ends) < 20
    with pytest.raises(RuntimeError):
        executor.submit(workers.prints_and_returns, 1)
    assert buffer.wait() == []


def test_a_pool_that_is_terminated_holds_nothing_up(buffer):
    pool = buffer.pool(1)
    pool.map_async(workers.sleeps, range(100), chunksize=1)
    pool.terminate()
    pool.join()
    buffer.wait()


def test_a_task_that_cannot_be_pickled_holds_nothing_up(buffer):
    with buffer.executor(1) as executor:
        future = executor.submit(lambda: None)
        assert [end.end for end in buffer.wait()] == ["never opened"]
        assert future.exception() is not None


def test_exits_are_signals_names(buffer):
    process = buffer.popen(["sleep", "600"])
    process.send_signal(signal.SIGTERM)
    assert str(buffer.wait()[0]) == "-- worker sleep was killed, SIGTERM --"
