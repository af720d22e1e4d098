"""Lines that are written in pieces, sent ahead, taken back, and left behind by threads that are
gone.
"""

import os
import pickle
import threading

import pytest

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100)


def ahead(mirror, text):
    print(text, end="", file=mirror, flush=True)


def in_a_thread(work, *arguments):
    thread = threading.Thread(target=work, args=arguments)
    thread.start()
    thread.join()


def all_of(buffer, mirror):
    mirror.send_eof()
    buffer.wait()
    return buffer.read()


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (("a", "\r\n"), "a"),
        (("a\r", "\n"), "a"),
        (("a\r", "\r\n"), "a"),
        (("a\r", "b\n"), "b"),
        (("a", "\rb", "\n"), "b"),
        (("a", "b", "c\n"), "abc"),
        (("a", "", "b\n"), "ab"),
    ],
)
@pytest.mark.parametrize("send", [linering.LineProcMirror.write, ahead])
def test_a_return_means_the_same_in_pieces(buffer, pieces, expected, send):
    mirror = buffer.mirror
    for piece in pieces:
        send(mirror, piece)
    assert all_of(buffer, mirror) == (expected,)


def test_what_was_sent_ahead_is_not_sent_again(buffer):
    mirror = buffer.mirror
    ahead(mirror, "a")
    mirror.flush()
    mirror.write("")
    mirror.flush()
    print("b", file=mirror)
    mirror.send_eof()
    assert list(buffer.drain(changes=True)) == ["a", "ab"]


def test_what_was_sent_ahead_and_forgotten_is_no_part_of_the_next_line(buffer):
    mirror = buffer.mirror
    ahead(mirror, "forgotten")
    mirror.clear()
    print("next", file=mirror)
    assert all_of(buffer, mirror) == ("next",)


def test_a_line_whose_end_found_no_room_is_no_part_of_the_next_one():
    buffer = linering.LineProcBuffer(100, policy="block", lines=16)
    mirror = buffer.new_mirror(timeout=0)
    for _ in range(15):
        print("line", file=mirror)
    ahead(mirror, "begun")
    with pytest.raises(TimeoutError):
        mirror.write(" and lost\n")
    assert buffer.read()[-1] == "begun"
    print("next", file=mirror)
    assert all_of(buffer, mirror)[-2:] == ("begun", "next")


def test_what_other_threads_had_sent_ahead_when_a_mirror_was_stopped_arrives_beside_its_error(
    buffer,
):
    mirror = buffer.mirror
    mirror.write("the first thread's\n")
    in_a_thread(ahead, mirror, "begun")
    buffer.stop_all_mirrors()
    mirror.send_error(ValueError("at the end"))
    buffer.wait()
    # The threads' mirrors end one by one, in no order.
    _, *rest = buffer.read()
    begun, error = sorted(rest, key=lambda item: isinstance(item, linering.GroupedMessage))
    assert (begun, begun.unfinished, error.type) == ("begun", True, "error")


def test_an_eof_of_a_mirror_that_was_stopped_in_the_middle_of_a_line_raises_nothing(buffer):
    mirror = buffer.mirror
    mirror.write("begun")
    buffer.stop_all_mirrors()
    assert all_of(buffer, mirror) == ("begun",)


@pytest.mark.parametrize("use", ["flush", "new_line", "clear"])
def test_what_concerns_a_begun_line_opens_no_mirror_that_has_ended(buffer, use):
    """A `print(..., flush=True)` of nothing, an interpreter that flushes at its end: who waits
    would wait for ever.
    """
    mirror = buffer.mirror
    print("line", file=mirror)
    mirror.send_eof()
    getattr(mirror, use)()
    mirror.stderr.flush()
    assert buffer.n_mirrors == 0


@pytest.mark.parametrize("is_first", [True, False])
def test_the_line_of_a_thread_that_is_gone_ends_when_another_one_begins_to_print(buffer, is_first):
    mirror = buffer.mirror
    if not is_first:
        print("main", file=mirror)
    in_a_thread(mirror.write, "begun")
    in_a_thread(mirror.write, "whole\n")
    assert buffer.read()[-2:] == ("begun", "whole")
    mirror.send_eof()


def test_a_thousand_threads_one_after_another_need_two_mirrors():
    buffer = linering.LineProcBuffer(3000, mirrors=4)
    mirror = buffer.mirror
    for number in range(1000):
        in_a_thread(mirror.write, f"thread {number}\n")
    assert all_of(buffer, mirror) == tuple(f"thread {number}" for number in range(1000))


def test_who_prints_errors_first_ends_nothing(buffer):
    mirror = pickle.loads(pickle.dumps(buffer.mirror))
    print("error", file=mirror.stderr)
    assert buffer.ends() == []
    print("line", file=mirror)
    mirror.send_eof()
    assert [end.end for end in buffer.wait()] == ["eof"]


def test_what_was_begun_when_a_mirror_is_collected_is_a_line(buffer):
    mirror = buffer.mirror
    mirror.write("begun")
    del mirror
    (end,) = buffer.wait()
    (line,) = buffer.read()
    assert (end.end, line, line.unfinished) == ("eof", "begun", False)


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def test_what_was_sent_ahead_of_a_line_comes_at_its_workers_death(buffer):
    mirror = buffer.mirror
    child = os.fork()
    if child == 0:
        ahead(mirror, "prompt: ")
        os._exit(0)
    os.waitpid(child, 0)
    (line,) = buffer.drain()
    assert (line, line.unfinished) == ("prompt: ", True)
    assert buffer.read() == ()


def test_a_mirror_that_is_ended_and_opened_again_for_ever_does_not_grow(buffer):
    mirror = buffer.mirror
    errors = mirror.stderr

    def opens(times):
        for _ in range(times):
            print("line", file=errors)
            mirror.send_eof()

    opens(100)
    before = resident()
    opens(10_000)
    assert resident() - before < 1_000_000


def test_a_bar_that_is_redrawn_for_hours_is_not_kept_whole(buffer):
    mirror, bar = buffer.mirror, "\r" + 10_000 * "#"
    mirror.write(bar)
    before = resident()
    for _ in range(10_000):
        mirror.write(bar)
    assert resident() - before < 50_000_000, "of 100 MB"
    assert mirror.read() == bar[1:]
    assert all_of(buffer, mirror) == (bar[1:],)
