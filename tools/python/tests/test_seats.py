"""What a buffer waits for and what not; that it begins afresh; how much it takes at a time."""

import gc
import pickle
import sys

import pytest

import linering
from linering import _fork


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100)


@pytest.fixture
def no_limit(monkeypatch):
    """However slow the machine is, nobody is taken to have forgotten a mirror that he has sent."""
    monkeypatch.setattr(_fork, "PICKLING", float("inf"))


def ends_in_a_pickle(mirror):
    pickle.loads(pickle.dumps(mirror)).send_eof()


def test_a_mirror_that_somebody_has_is_waited_for(buffer):
    mirror = buffer.mirror
    with pytest.raises(TimeoutError, match="1 seats unopened"):
        buffer.wait(timeout=0.01)
    mirror.send_eof()


def test_a_leftover_is_given_up_when_all_others_have_ended(buffer, no_limit):
    leftover = buffer.mirror
    ends_in_a_pickle(leftover)
    assert buffer.n_mirrors == 1
    assert [end.end for end in buffer.wait()] == ["eof"]


def test_a_leftover_is_kept_while_another_mirror_is_open(buffer, no_limit):
    leftover, opened = buffer.mirror, buffer.mirror
    print("line", file=opened)
    ends_in_a_pickle(leftover)
    with pytest.raises(TimeoutError, match="1 mirrors are open and 1 seats unopened"):
        buffer.wait(timeout=0.01)
    opened.send_eof()


def test_a_leftover_is_kept_while_another_mirror_may_be_opened(buffer, no_limit):
    leftover, unopened = buffer.mirror, buffer.mirror
    ends_in_a_pickle(leftover)
    with pytest.raises(TimeoutError, match="2 seats unopened"):
        buffer.wait(timeout=0.01)
    unopened.send_eof()


def test_a_mirror_that_a_task_has_which_waits_for_its_pickling_is_no_leftover(buffer, no_limit):
    mirror = buffer.mirror
    task = (mirror,)
    ends_in_a_pickle(mirror)
    with pytest.raises(TimeoutError, match="1 seats unopened"):
        buffer.wait(timeout=0.01)
    task[0].send_eof()


def test_a_leftover_that_more_than_one_variable_has_is_given_up_after_a_time(buffer, monkeypatch):
    mirror = buffer.mirror
    both = [mirror, mirror]
    ends_in_a_pickle(mirror)
    monkeypatch.setattr(_fork, "PICKLING", 0)
    assert [end.end for end in buffer.wait()] == ["eof"]
    assert both[0].read() == ""


def test_mirrors_that_are_gone_cost_no_memory(buffer):
    def count():
        gc.collect()
        return sum(isinstance(it, _fork.Seat) for it in gc.get_objects())

    before = count()
    for _ in range(1000):
        buffer.new_mirror()
    assert count() - before < 200


def test_a_beginning_afresh_keeps_what_had_come_and_what_was_lost():
    buffer = linering.LineProcBuffer(2, lines=64, policy="drop")
    with buffer.mirror as mirror:
        for number in range(100):
            print("line", number, file=mirror)
    buffer.reset_states()
    assert buffer.lost == 36
    assert buffer.storage[-1] == "-- worker 0: 36 lines lost, ring full --"


def test_lines_that_were_overwritten_are_counted_and_leave_no_note():
    class Seen(linering.LineProcBuffer):
        def parse_lines(self, lines):
            self.kinds = {line.kind for line in lines}

    buffer = Seen(2, lines=64)
    with buffer.mirror as mirror:
        for number in range(100):
            print("line", number, file=mirror)
    buffer.wait()
    assert buffer.kinds == {"line"}
    assert buffer.lost > 0


class Echo(linering.LineProcBuffer):
    """For each line that is stored another one comes."""

    def parse_lines(self, lines):
        super().parse_lines(lines)
        print("echo", file=self.echo)


@pytest.mark.parametrize("use", ["read", "clear", "ends", "__len__"])
def test_lines_that_never_cease_keep_nobody(use):
    buffer = Echo(10)
    buffer.echo = buffer.mirror
    print("line", file=buffer.echo)
    getattr(buffer, use)()


def test_a_subclass_may_read_while_it_sees_lines(buffer):
    class Reads(linering.LineProcBuffer):
        def parse_lines(self, lines):
            super().parse_lines(lines)
            self.last = self.read(1)

    buffer = Reads(10)
    with buffer.mirror as mirror:
        print("one\ntwo", file=mirror)
    buffer.wait()
    assert buffer.last == ("two",)


def test_what_comes_behind_lines_that_parse_lines_refuses_is_not_lost():
    class Picky(linering.LineProcBuffer):
        def parse_lines(self, lines):
            raise LookupError(*lines)

    buffer = Picky(10)
    with buffer.mirror as mirror:
        print("line", file=mirror)
        mirror.send_warning(UserWarning("careful"))
    with pytest.raises(LookupError, match="line"):
        buffer.wait()
    assert [end.end for end in buffer.wait()] == ["eof"]
    assert [str(message) for message in buffer.read()] == ["UserWarning: careful"]


def test_what_could_not_be_handed_out_is_not_lost(buffer, monkeypatch):
    """A signal's handler may raise wherever Python code runs."""

    def interrupted(*_):
        raise KeyboardInterrupt

    with buffer.mirror as mirror:
        mirror.send_warning(UserWarning("careful"))
    with monkeypatch.context() as patch:
        patch.setattr(linering.GroupedMessage, "__init__", interrupted)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                buffer.wait()
    buffer.wait()
    assert [str(message) for message in buffer.read()] == ["UserWarning: careful"]


def test_a_block_that_cannot_send_its_end_puts_the_streams_back():
    before = sys.stdout, sys.stderr
    buffer = linering.LineProcBuffer(10, policy="block", lines=16)
    with pytest.raises(TimeoutError), buffer.new_mirror(timeout=0):
        for _ in range(16):
            print("line")
        print("begun", end="")
    assert (sys.stdout, sys.stderr) == before


def test_who_prints_into_a_mirror_that_he_has_handed_over_has_another_one(buffer):
    mirror = buffer.mirror
    handed_over = linering.LineProcMirror.from_environ(mirror.environ())
    for each in (mirror, handed_over):
        print("line", file=each)
    assert sorted(line.worker for line in buffer.read()) == [0, 1]
    mirror.send_eof()
    handed_over.send_eof()
    assert len(buffer.wait()) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"policy": "wait"}, 'policy is "wait", expected "overwrite", "block" or "drop"'),
        ({"seat_limit": -1}, "seat_limit is -1, expected None or 0 or more seconds"),
        ({"block_limit": float("nan")}, "block_limit is NaN, expected None or 0 or more seconds"),
        ({"mirrors": 0}, "mirrors"),
    ],
)
def test_options_out_of_their_bounds_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        linering.LineProcBuffer(10, **options)
