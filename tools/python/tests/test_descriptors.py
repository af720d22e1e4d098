"""`fileno()`: what other programs and C code write to a mirror and to a line buffer."""

import faulthandler
import gc
import io
import os
import signal
import subprocess
import sys
import time

import pytest
import workers

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(1000)


def by_stream(buffer):
    return sorted((line.stream, str(line)) for line in buffer.read())


ECHO = ["sh", "-c", "echo out; echo error >&2"]
CAME = [("stderr", "error"), ("stdout", "out")]


def test_a_program_started_in_a_block_prints_into_the_mirror(buffer):
    with buffer.mirror as mirror:
        subprocess.run(ECHO, stdout=sys.stdout, stderr=sys.stderr, check=True)
    (end,) = buffer.wait()
    assert (end.worker, end.end, end.lines) == (mirror.worker, "eof", 2)
    assert by_stream(buffer) == CAME
    assert {line.worker for line in buffer.read()} == {mirror.worker}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_starts_programs(buffer, method):
    process = workers.start(method, workers.starts_a_program, buffer.mirror, ECHO)
    assert [end.end for end in buffer.wait()] == ["eof"]
    assert by_stream(buffer) == CAME
    process.join()


def test_a_background_program_is_waited_for(buffer):
    with buffer.mirror:
        command = ["sh", "-c", "read line; echo late"]
        program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=sys.stdout)
    with pytest.raises(TimeoutError):
        buffer.wait(timeout=0)
    program.communicate(b"go\n")
    buffer.wait()
    assert buffer.read() == ("late",)


def test_the_last_words_of_a_crash_arrive(buffer):
    process = workers.start("fork", workers.crashes_with_faulthandler, buffer.mirror)
    ends = buffer.wait()
    process.join()
    assert process.exitcode == -signal.SIGSEGV
    assert [end.end for end in ends] == ["died"]
    lines = [str(line) for line in buffer.read() if line.stream == "stderr"]
    assert lines[0] == "Fatal Python error: Segmentation fault"
    assert any("in crashes_with_faulthandler" in line for line in lines)


def test_after_the_block_the_number_leads_to_the_programs_own_stream(buffer, capfd):
    with buffer.mirror as mirror:
        number = mirror.fileno()
        assert sys.stdout.fileno() == number
        os.write(number, b"inside\n")
    os.write(number, b"outside\n")
    buffer.wait()
    assert buffer.read() == ("inside",)
    assert capfd.readouterr().out == "outside\n"


def test_a_mirror_that_is_used_again_has_its_descriptor_again(buffer):
    mirror = buffer.mirror
    for word in (b"first\n", b"second\n"):
        with mirror:
            os.write(mirror.fileno(), word)
        buffer.wait()
    assert buffer.read() == ("first", "second")


def test_a_child_that_lives_on_keeps_no_pipe_open(buffer, children):
    with buffer.mirror:
        sys.stdout.fileno()
        child = os.fork()
        if child == 0:
            time.sleep(600)
        children.append(child)
    assert [end.end for end in buffer.wait()] == ["eof"]


def test_a_mirror_that_is_gone_leaves_no_descriptor_behind(buffer):
    def use():
        with buffer.mirror as mirror:
            mirror.fileno(), mirror.stderr.fileno()

    use()
    buffer.wait()
    gc.collect()
    before = workers.descriptors()
    use()
    buffer.wait()
    assert not workers.descriptors() - before


def test_without_an_interpreter_there_is_no_descriptor(buffer, monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(io.UnsupportedOperation, match="where there is no interpreter"):
        buffer.mirror.fileno()


def test_a_program_prints_into_a_line_buffer():
    lines = linering.LineBuffer(10)
    with lines:
        print("before")
        subprocess.run(["sh", "-c", "echo one; echo two"], stdout=sys.stdout, check=True)
    assert lines.read() == ("before", "one", "two")


def test_much_that_a_program_prints_into_a_line_buffer():
    lines = linering.LineBuffer(10)
    subprocess.run(["seq", "100000"], stdout=lines, check=True)
    assert lines.read(2) == ("99999", "100000")


def test_a_line_buffer_that_is_gone_leaves_no_descriptor_behind():
    gc.collect()
    before = workers.descriptors()
    lines = linering.LineBuffer(10)
    lines.fileno()
    thread = lines._descriptor._thread
    lines.close()
    with pytest.raises(OSError):
        lines.fileno()
    del lines
    thread.join()
    assert not workers.descriptors() - before


def test_traces_of_faulthandler_go_into_a_line_buffer():
    lines = linering.LineBuffer(100)
    faulthandler.dump_traceback(file=lines)
    assert any("test_traces_of_faulthandler" in line for line in lines.read())


def test_bytes_files_are_files():
    lines = linering.LineBuffer(10)
    lines.buffer.writelines([b"one\n", bytearray(b"two\n")])
    assert lines.buffer.fileno() == lines.fileno() and lines.buffer.mode == "wb"
    assert lines.read() == ("one", "two")
