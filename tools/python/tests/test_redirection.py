"""A redirection is its thread's and its context's, and the real stream comes back."""

import asyncio
import concurrent.futures
import contextlib
import io
import subprocess
import sys
import threading

import pytest

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(1000)


@pytest.fixture
def streams():
    before = sys.stdout, sys.stderr
    yield before
    assert (sys.stdout, sys.stderr) == before


def by_worker(buffer):
    found = {}
    for line in buffer.read():
        found.setdefault(line.worker, []).append(str(line))
    return found


@pytest.mark.parametrize("overlap", [True, False])
def test_blocks_of_threads_are_their_own(buffer, streams, overlap):
    barrier = threading.Barrier(4)
    numbers = range(4 if overlap else 40)

    def task(number):
        mirror = buffer.mirror
        with mirror:
            if overlap:
                barrier.wait()
            print(number)
            print(number, file=sys.stderr)
            if overlap:
                barrier.wait()
        return mirror.worker

    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        of = dict(zip(executor.map(task, numbers), numbers))
    assert (sys.stdout, sys.stderr) == streams
    buffer.wait()
    assert by_worker(buffer) == {worker: [str(number)] * 2 for worker, number in of.items()}


def test_the_main_thread_prints_where_it_did_while_a_thread_has_a_block(buffer, streams):
    begun, printed = threading.Event(), threading.Event()

    def work():
        with buffer.mirror:
            begun.set()
            printed.wait()
            print("thread")

    with contextlib.redirect_stdout(io.StringIO()) as out:
        thread = threading.Thread(target=work)
        thread.start()
        begun.wait()
        print("main")
        printed.set()
        thread.join()
        print("after")
    assert out.getvalue() == "main\nafter\n"
    buffer.wait()
    assert buffer.read() == ("thread",)


def test_blocks_of_threads_that_end_in_any_order(buffer, streams):
    begun = [threading.Event() for _ in range(2)]
    may_end = [threading.Event() for _ in range(2)]

    def work(number):
        with buffer.mirror:
            begun[number].set()
            may_end[number].wait()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread, event in zip(threads, begun):
        thread.start()
        event.wait()
    for thread, event in zip(threads, may_end):
        event.set()
        thread.join()
    assert (sys.stdout, sys.stderr) == streams


def test_blocks_of_one_thread_that_end_in_any_order(buffer, streams):
    first, second = buffer.mirror, buffer.mirror
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    print("second")
    second.__exit__(None, None, None)
    assert (sys.stdout, sys.stderr) == streams
    assert by_worker(buffer) == {1: ["second"]}


def test_a_thread_that_is_started_in_a_block_of_the_main_thread_prints_there(buffer, streams):
    with buffer.mirror:
        threads = [threading.Thread(target=print, args=("thread",)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    buffer.wait()
    assert buffer.read() == ("thread",) * 3


def tasks_print_in_pieces(enter):
    async def task(number):
        with enter():
            for piece in "abc":
                print(number, piece, end=" ")
                await asyncio.sleep(0)
            print()

    async def main():
        await asyncio.gather(*(task(number) for number in range(5)))

    asyncio.run(main())


EXPECTED = [f"{number} a {number} b {number} c " for number in range(5)]


@pytest.mark.parametrize("each", ["its own mirror", "the same", "redirect_stdout"])
def test_tasks_of_an_event_loop_do_not_mix_their_pieces(buffer, streams, each):
    mirror = buffer.mirror
    enter = {
        "its own mirror": lambda: buffer.mirror,
        "the same": lambda: mirror,
        "redirect_stdout": lambda: linering.redirect_stdout(mirror),
    }[each]
    tasks_print_in_pieces(enter)
    mirror.send_eof()
    buffer.wait()
    assert sorted(map(str, buffer.read())) == EXPECTED


@pytest.mark.parametrize("redirect", [False, True])
def test_tasks_do_not_mix_their_pieces_in_a_line_buffer_either(streams, redirect):
    lines = linering.LineBuffer(100)
    tasks_print_in_pieces(lambda: linering.redirect_stdout(lines) if redirect else lines)
    assert sorted(lines.read()) == EXPECTED


def test_greenlets_do_not_mix_their_pieces():
    program = """
import gevent, linering, sys
before = sys.stdout
buffer = linering.LineProcBuffer(100)
mirror = buffer.mirror
def task(number):
    with mirror:
        for piece in "abc":
            print(number, piece, end=" ")
            gevent.sleep(0)
        print()
gevent.joinall([gevent.spawn(task, number) for number in range(5)])
assert sys.stdout is before
buffer.wait()
print(sorted(map(str, buffer.read())))
"""
    pytest.importorskip("gevent")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{EXPECTED}\n", "")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_redirections_of_threads_are_their_own(streams, name):
    buffers = [linering.LineBuffer(10) for _ in range(4)]
    barrier = threading.Barrier(4)

    def task(number):
        with getattr(linering, f"redirect_{name}")(buffers[number]):
            barrier.wait()
            print(number, file=getattr(sys, name))
            barrier.wait()

    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        list(executor.map(task, range(4)))
    assert [lines.read() for lines in buffers] == [(str(number),) for number in range(4)]


def test_a_line_buffers_blocks_of_threads_are_their_own(streams):
    buffers = [linering.LineBuffer(10) for _ in range(4)]
    barrier = threading.Barrier(4)

    def task(number):
        with buffers[number]:
            barrier.wait()
            print(number)
            barrier.wait()

    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        list(executor.map(task, range(4)))
    assert [lines.read() for lines in buffers] == [(str(number),) for number in range(4)]


def test_what_is_left_of_a_line_at_the_end_of_a_threads_block_is_a_line(buffer):
    mirror = buffer.mirror

    def task():
        for number in range(3):
            with linering.redirect_stdout(mirror):
                print(number, end="")

    thread = threading.Thread(target=task)
    thread.start()
    thread.join()
    mirror.send_eof()
    assert [end.end for end in buffer.wait()] == ["eof"]
    assert buffer.read() == ("0", "1", "2")


def test_a_descriptor_is_captured_by_one_thread_at_a_time():
    program = """
import linering, os, threading
buffer = linering.LineProcBuffer(100)
found = []
def captures():
    try:
        with linering.capture(buffer):
            pass
    except RuntimeError as error:
        found.append(str(error))
with linering.capture(buffer) as mirror:
    thread = threading.Thread(target=captures)
    thread.start()
    thread.join()
    os.write(1, b"captured\\n")
mirror.send_eof()
captures()
os.write(1, f"{found}\\n".encode())
buffer.wait()
print(*buffer.read())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
    found, lines = done.stdout.splitlines()
    assert "another thread has captured descriptor 1, expected one at a time" in found
    assert lines == "captured"


def test_standard_error_alone(buffer, streams):
    mirror = buffer.mirror
    with mirror.stderr:
        print("error", file=sys.stderr)
    mirror.send_eof()
    buffer.wait()
    (line,) = buffer.read()
    assert (line, line.stream) == ("error", "stderr")


@pytest.mark.parametrize("make", [lambda: linering.LineProcBuffer(9).mirror, linering.LineBuffer])
def test_the_protocol_of_text_files(make):
    file = make()
    for each in [file] + ([file.stderr] if hasattr(file, "stderr") else []):
        assert each.name.startswith("<") and each.mode == "w" and each.write_through
        each.reconfigure(encoding="utf8", errors="replace", line_buffering=True)
        with pytest.raises(ValueError, match="encoding is 'latin-1', expected UTF-8"):
            each.reconfigure(encoding="latin-1")
        with pytest.raises(TypeError, match="found the option 'colour'"):
            each.reconfigure(colour=True)
        assert each.buffer.write(b"bytes\n") == 6
        assert each.write(data="named\n") == 6
        for wrong in ((), ("a", "b")):
            with pytest.raises(TypeError):
                each.write(*wrong)
        with pytest.raises(TypeError):
            each.write(text="a")
        wrapped = io.TextIOWrapper(each.buffer, encoding="utf-8", write_through=True)
        print("wrapped", file=wrapped)
        wrapped.flush()
        print("detached", file=io.TextIOWrapper(each.detach(), write_through=True))
    if isinstance(file, linering.LineBuffer):
        assert file.read() == ("bytes", "named", "wrapped", "detached")
