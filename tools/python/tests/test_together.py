"""Several lines of one print or write stay together."""

import functools
import multiprocessing
import os
import threading

import pytest
import workers

import linering

TEXT = "a\nb\nc"


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100_000, policy="block")


def together(buffer, before=()):
    """The lines, which a single worker has written three by three."""
    lines = [line for line in buffer.drain() if line not in before]
    threes = [lines[at : at + 3] for at in range(0, len(lines), 3)]
    for three in threes:
        assert len({line.worker for line in three}) == 1 and "".join(three) == "abc", three
        # Not by luck: one item of the ring.
        assert len({line.position for line in three}) == 1, three
    return len(threes)


@pytest.mark.parametrize("way", ["print", "print to stderr", "write", "print with an end"])
def test_lines_of_one_call_stay_together(buffer, way):
    count = 3000
    begin = multiprocessing.get_context("fork").Barrier(4)
    started = [
        workers.start("fork", workers.writes_three_lines, buffer.mirror, way, count, begin)
        for _ in range(4)
    ]
    assert together(buffer) == 4 * count
    assert [end.lines for end in buffer.wait()] == [3 * count] * 4
    for process in started:
        process.join()


def test_no_other_mirrors_line_comes_between_two_writes_of_a_print(buffer):
    first, second = buffer.mirror, buffer.mirror
    writes = [(first.write, TEXT), (second.write, "other\n"), (first.write, "\n")]
    # Called in C one after another, as `print` calls the first and the last.
    list(map(functools.partial.__call__, [functools.partial(*each) for each in writes]))
    assert buffer.read() == ("other", "a", "b", "c")


def test_a_text_without_its_end_is_there_when_the_write_has_returned(buffer):
    mirror = buffer.mirror
    mirror.write("one\ntwo\nthree")
    assert buffer.read() == ("one", "two")
    assert mirror.read() == "three"
    mirror.write(" goes on\n")
    assert buffer.read() == ("one", "two", "three goes on")


@pytest.mark.parametrize("in_a_thread", [False, True])
def test_what_comes_before_and_behind_is_in_its_place(buffer, in_a_thread):
    def work():
        with buffer.mirror as mirror:
            print("begun", end=" ")
            print("one\ntwo", 3, end="")
            mirror.stderr.write("error\nof two lines")
            print("\nfour\nfive", "six", sep="\n", end="\n\n")
            print("seven\neight", end="", flush=True)
            print("\r8\nnine\r\nten\r\n11")
            print("x\n" * 3, end="")

    thread = threading.Thread(target=work)
    if in_a_thread:
        thread.start()
        thread.join()
    else:
        work()
    buffer.wait()
    lines = [str(line) for line in buffer.read() if line.stream == "stdout"]
    assert lines == [
        "begun one", "two 3", "four", "five", "six", "", "seven", "8", "nine", "ten", "11",
        "x", "x", "x",
    ]  # fmt: skip
    assert [line for line in buffer.read() if line.stream == "stderr"] == ["error", "of two lines"]


def test_a_mirrors_end_and_a_clear_behind_a_text_without_its_end(buffer):
    mirror = buffer.mirror
    for text, end in (("a\nb", mirror.clear), ("c\nd", mirror.new_line), ("e\nf", mirror.send_eof)):
        # `any` writes it in C: the interpreter has not had what is held back written.
        any(map(mirror.write, [text]))
        end()
    buffer.wait()
    assert buffer.read() == ("a", "c", "d", "e", "f")


def test_what_a_loop_in_c_writes_is_there_after_it(buffer):
    mirror = buffer.mirror
    list(map(mirror.write, [TEXT] * 50))
    assert buffer.read()[-2:] == ("ca", "b")
    mirror.send_eof()
    assert len(buffer.wait()) == 1
    assert buffer.read() == ("a", "b", *("ca", "b") * 49, "c")


def test_more_than_the_longest_line_is_divided_at_line_ends():
    buffer = linering.LineProcBuffer(1000, policy="block", lines=256, max_line=1000)
    text = "".join(f"{number:0100}\n" for number in range(100))
    mirror = buffer.mirror
    mirror.write(text)
    mirror.send_eof()
    lines = list(buffer.drain())
    assert "".join(f"{line}\n" for line in lines) == text
    assert not any(line.truncated for line in lines)
    assert len({line.position for line in lines}) > 10


def test_what_a_child_forks_in_the_middle_of_is_not_written_twice(buffer):
    mirror = buffer.mirror
    mirror.write("one\ntwo")
    child = os.fork()
    if child == 0:
        mirror.write("child\n")
        os._exit(0)
    os.waitpid(child, 0)
    mirror.send_eof()
    buffer.wait()
    assert sorted(map(str, buffer.read())) == ["child", "one", "two"]


def test_an_exception_of_what_was_held_back_is_raised():
    buffer = linering.LineProcBuffer(100)
    mirror = buffer.mirror
    mirror.write("begun\n")
    buffer.stop_all_mirrors()
    with pytest.raises(linering.Stopped):
        mirror.write("one\ntwo\nthree")
        pytest.fail("the write has returned")


def test_lines_that_were_written_together_and_lost_are_counted_once():
    buffer = linering.LineProcBuffer(4, lines=8)
    mirror = buffer.mirror
    for _ in range(100):
        print(TEXT, file=mirror)
    mirror.send_eof()
    (end,) = buffer.wait()
    assert end.lines + 3 * end.lost >= 300 and buffer.read() == ("c", "a", "b", "c")
