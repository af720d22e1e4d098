"""What each `Line` knows: where it came from, its bytes, whether it is damaged."""

import copy
import gc
import mmap
import pickle
import sys
import time

import pytest

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100, policy="block")


def test_a_line_knows_where_it_came_from(buffer):
    before = time.time()
    mirror = buffer.new_mirror("till")
    with mirror:
        print("out")
        print("err", file=sys.stderr)
    out, err = sorted(buffer.drain(), key=lambda line: line.position)
    assert isinstance(out, str) and isinstance(out, linering.Line)
    assert (out, out.worker, out.label, out.stream, out.level, out.kind) == (
        "out",
        0,
        "till",
        "stdout",
        None,
        "line",
    )
    assert (err, err.stream) == ("err", "stderr")
    # A coarse clock.
    assert before - 0.1 <= out.time <= time.time()
    assert (out.truncated, out.unfinished, out.unacknowledged, out.missing) == (
        False,
        False,
        False,
        0,
    )
    for other in (pickle.loads(pickle.dumps(out)), copy.copy(out)):
        assert (other, other.worker, other.position, other.time) == (
            out,
            out.worker,
            out.position,
            out.time,
        )
    mirror = buffer.new_mirror("x" * 25)
    mirror.write("cut\n")
    mirror.send_eof()
    buffer.wait()
    assert buffer.read()[-1].label == "x" * 21 + "…"


def test_the_collector_of_garbage_does_not_visit_lines(buffer):
    """A million of them in a list would cost more to visit than to read."""
    with buffer.mirror as mirror:
        print("one", file=mirror)
    assert not any(gc.is_tracked(line) for line in buffer.drain())


def test_a_line_of_ones_own_making_knows_nothing():
    line = linering.Line("text")
    assert (line, line.worker, line.position, line.time, line.record) == (
        "text",
        None,
        None,
        None,
        None,
    )


@pytest.mark.parametrize("raw", [b"caf\xe9", b"\xff\x00\xfe", "grün".encode()])
def test_bytes_that_are_no_utf_8_arrive_as_pythons_own_streams_have_them(buffer, raw):
    with buffer.mirror as mirror:
        mirror.buffer.write(raw + b"\n")
    (line,) = buffer.drain()
    assert line == raw.decode("utf-8", "surrogateescape")
    assert line.data == raw


def test_what_was_changed_in_the_ring_is_damaged():
    buffer = linering.LineProcBuffer(100, policy="block", checksums=True)
    environ = buffer.mirror.environ()
    mirror = linering.LineProcMirror.from_environ(environ)
    for number in range(5):
        print("line", number, file=mirror)
    print("begun and ", end="", flush=True, file=mirror)
    print("ended", file=mirror)
    mirror.send_warning(UserWarning("careful"))
    print("last", file=mirror)
    mirror.send_eof()
    # linering1:IDENTITY:PROCESS:DESCRIPTOR:TICKET:SERIAL
    descriptor = int(environ["LINERING_SEAT"].split(":")[3])
    with mmap.mmap(descriptor, 0) as memory:
        for text in (b"line 2", b"begun", b"careful"):
            at = memory.find(text)
            assert at == memory.rfind(text) > 0, "in one slot"
            memory[at] ^= 0x20
    found = [(str(item), item.damaged) for item in buffer.drain()]
    assert found == [
        ("line 0", False),
        ("line 1", False),
        ("Line 2", True),
        ("line 3", False),
        ("line 4", False),
        ("Begun and ended", True),
        ("UserWarning: Careful", True),
        ("last", False),
    ]


def test_what_is_known_of_a_line_is_told_of_nothing_else():
    """There is no room for it in other objects."""
    known = linering._linering.state(linering.Line("text"))
    for use in (linering._linering.state, lambda found: linering._linering.restore(found, known)):
        with pytest.raises(TypeError, match="found a str, expected a Line"):
            use("text")


def test_a_pickle_of_a_line_that_says_what_nobody_knows_is_a_line():
    """Of a later version, or damaged."""
    line = linering.Line("text")
    worker, label, _, numbers = linering._linering.state(line)
    linering._linering.restore(line, (worker, label, (99, 99, 99, 255), numbers))
    assert (line, line.stream, line.level, line.kind) == ("text", None, None, None)
