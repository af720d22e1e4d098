"""What a buffer waits for and what not; that it begins afresh; how much it takes at a time."""

import gc
import pickle
import sys

import pytest

import linering
from linering import _seats


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100)


def ends_in_a_pickle(mirror):
    pickle.loads(pickle.dumps(mirror)).send_eof()


def test_a_mirror_that_was_not_handed_over_is_waited_for(buffer):
    mirror = buffer.mirror
    with pytest.raises(TimeoutError, match="1 seats unopened"):
        buffer.wait(timeout=0.01)
    mirror.send_eof()


def test_a_pickle_takes_the_seat_whatever_variables_still_refer_to_the_mirror(buffer):
    """No decision rests on a reference count, or on how long something took."""
    mirror = buffer.mirror
    everywhere = [mirror, (mirror,), {"mirror": mirror}]
    ends_in_a_pickle(mirror)
    assert buffer.n_mirrors == 0
    assert [end.end for end in buffer.wait()] == ["eof"]
    assert everywhere[0].read() == ""


def test_a_pickle_that_is_under_way_is_waited_for_though_its_mirror_is_collected(buffer):
    pickled = pickle.dumps(buffer.mirror)
    gc.collect()
    with pytest.raises(TimeoutError, match="0 mirrors are open and 1 seats unopened"):
        buffer.wait(timeout=0.01)
    pickle.loads(pickled).send_eof()
    assert [end.end for end in buffer.wait()] == ["eof"]


def test_a_pickle_that_was_opened_is_waited_for_though_it_printed_nothing(buffer):
    opened = pickle.loads(pickle.dumps(buffer.mirror))
    with pytest.raises(TimeoutError, match="0 mirrors are open and 1 seats unopened"):
        buffer.wait(timeout=0.01)
    opened.send_eof()
    assert [end.end for end in buffer.wait()] == ["eof"]


@pytest.mark.parametrize("opened", [True, False])
def test_a_handed_over_mirror_changes_nothing_for_the_others(buffer, opened):
    handed_over, other = buffer.mirror, buffer.mirror
    if opened:
        print("line", file=other)
    ends_in_a_pickle(handed_over)
    expected = "1 mirrors are open and 0 seats" if opened else "0 mirrors are open and 1 seats"
    with pytest.raises(TimeoutError, match=expected):
        buffer.wait(timeout=0.01)
    other.send_eof()
    assert len(buffer.wait()) == 2


def test_another_mirror_keeps_a_wait_from_ending_between_two_pickles_of_one(buffer):
    """What a pool does with one mirror for several tasks; see "What no rule can know" in
    docs/python.md.
    """
    mirror, held = buffer.mirror, buffer.mirror
    for _ in range(2):
        ends_in_a_pickle(mirror)
        with pytest.raises(TimeoutError, match="1 seats unopened"):
            buffer.wait(timeout=0.01)
    del held
    assert [(end.worker, end.end) for end in buffer.wait()] == [(0, "eof"), (2, "eof")]


def test_an_environment_takes_the_seat_as_a_pickle_does(buffer):
    mirror = buffer.mirror
    linering.LineProcMirror.from_environ(mirror.environ()).send_eof()
    assert buffer.n_mirrors == 0
    assert [end.end for end in buffer.wait()] == ["eof"]


def test_mirrors_that_are_gone_cost_no_memory(buffer):
    def count():
        gc.collect()
        return sum(isinstance(it, _seats.HandedOutSeat) for it in gc.get_objects())

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
