"""What a `LineBuffer` keeps, of one thread and of many."""

import contextlib
import io
import os
import sys
import threading

import pytest

import linering


def of(*texts, maxlen=10):
    buffer = linering.LineBuffer(maxlen)
    for text in texts:
        buffer.write(text)
    return buffer


def test_lines_come_out_as_they_went_in_and_stay():
    buffer = of("one\ntwo\nth", "ree\nfo")
    assert buffer.read() == ("one", "two", "three", "fo")
    assert buffer.read() == ("one", "two", "three", "fo")
    assert len(buffer) == 4


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, ()),
        (-1, ()),
        (1, ("c",)),
        (2, ("b", "c")),
        (9, ("a", "b", "c")),
        (None, ("a", "b", "c")),
    ],
)
def test_read_gives_the_last_lines(size, expected):
    assert of("a\nb\nc").read(size) == expected


def test_the_oldest_lines_make_room_and_the_begun_one_counts():
    buffer = of("1\n2\n3\n4\n5", maxlen=3)
    assert buffer.read() == ("3", "4", "5")
    assert list(buffer.storage) == ["2", "3", "4"]
    assert (len(buffer), buffer.maxlen) == (3, 3)


def test_an_empty_buffer_has_no_lines_and_is_true():
    buffer = linering.LineBuffer()
    assert (len(buffer), buffer.read(), bool(buffer), buffer.maxlen) == (0, (), True, 20)


@pytest.mark.parametrize("maxlen", [0, -1, 1.5, "3", None, True])
def test_a_maxlen_that_is_no_positive_number_is_refused(maxlen):
    with pytest.raises(TypeError, match="expected a positive integer"):
        linering.LineBuffer(maxlen)


def test_write_gives_the_number_of_characters():
    assert of().write("grün\n") == 5
    with pytest.raises(TypeError, match="must be str, not bytes"):
        of().write(b"bytes")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x0bb\u2028c\x85d\n", ("a\x0bb\u2028c\x85d",)),
        ("a\r\nb\r\n", ("a", "b")),
        ("10%\r20%\r100%\n", ("100%",)),
        ("\n\n", ("", "")),
    ],
)
def test_lines_end_at_line_feeds_and_a_return_rewrites(text, expected):
    assert of(text).read() == expected
    # The same in pieces of one character.
    assert of(*text).read() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grün 中文 🎉", "grün 中文 🎉"),
        ("\udce9t\udce9", "\udce9t\udce9"),
        ("\ud800!", "\\ud800!"),
        ("nul\0", "nul\0"),
    ],
)
def test_text_of_any_kind_arrives(text, expected):
    assert of(text + "\n").read() == (expected,)


def test_long_lines_arrive_whole():
    text = "0123456789" * 10_000
    assert of(text, "\n").read() == (text,)


def test_a_new_line_ends_what_was_begun_and_nothing_else():
    buffer = of("a")
    buffer.new_line()
    buffer.new_line()
    assert list(buffer.storage) == ["a"]


def test_clear_forgets_lines_and_what_was_begun():
    buffer = of("a\nb")
    buffer.clear()
    buffer.write("c\n")
    assert buffer.read() == ("c",)


def test_a_closed_buffer_says_so():
    buffer = of("a\n")
    assert (buffer.closed, buffer.readable(), buffer.writable()) == (False, True, True)
    buffer.close()
    buffer.close()
    assert (buffer.closed, buffer.readable(), buffer.writable()) == (True, False, False)
    for use in (buffer.read, lambda: buffer.write("b"), buffer.new_line):
        with pytest.raises(OSError, match="closed"):
            use()
        with pytest.raises(ValueError, match="closed"):
            use()


def test_it_is_a_file_but_has_no_positions():
    buffer = of()
    assert (buffer.isatty(), buffer.seekable(), buffer.encoding) == (False, False, "utf-8")
    for use in (buffer.seek, buffer.tell):
        with pytest.raises(io.UnsupportedOperation):
            use()
    buffer.writelines(["a\n", "b\n"])
    buffer.flush()
    assert buffer.read() == ("a", "b")


def test_a_with_block_redirects_both_streams_and_puts_them_back():
    buffer, before = of(), (sys.stdout, sys.stderr)
    with buffer as entered:
        assert entered is buffer
        print("out")
        with buffer:
            print("err", file=sys.stderr)
        print("still")
    assert (sys.stdout, sys.stderr) == before
    assert buffer.read() == ("out", "err", "still")


@pytest.mark.parametrize("redirect", [contextlib.redirect_stdout, linering.redirect_stdout])
def test_redirect_stdout_takes_it(redirect):
    buffer = of()
    with redirect(buffer):
        print("in")
    assert buffer.read() == ("in",)
    with linering.redirect_stderr(buffer):
        print("error", file=sys.stderr)
    assert buffer.read() == ("in", "error")


def test_a_redirection_works_as_a_decorator():
    buffer = of()

    @linering.redirect_stdout(buffer)
    def work():
        print("decorated")

    work()
    work()
    assert buffer.read() == ("decorated", "decorated")


def test_pieces_of_threads_never_mix():
    buffer, threads, count = linering.LineBuffer(10_000), 8, 200
    begin = threading.Barrier(threads)

    def work(thread):
        begin.wait()
        for number in range(count):
            print(thread, end=" ")
            print(number, end=" ")
            print("end")

    with buffer:
        started = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
    lines = buffer.read()
    assert sorted(lines) == sorted(
        f"{thread} {number} end" for thread in range(threads) for number in range(count)
    )
    for thread in range(threads):
        own = [line for line in lines if line.startswith(f"{thread} ")]
        assert own == [f"{thread} {number} end" for number in range(count)], (
            "each thread's lines are in their order"
        )


class Seen(linering.LineBuffer):
    """Sees lines before they are stored, and keeps some."""

    def parse_lines(self, lines):
        self.seen = [*getattr(self, "seen", []), *lines]
        super().parse_lines([line.upper() for line in lines if "no" not in line])


def test_a_subclass_sees_lines_when_they_are_written_and_says_what_is_stored():
    buffer = Seen(3)
    buffer.write("one\nno\ntw")
    assert buffer.seen == ["one", "no"], "before anybody reads"
    buffer.write("o\n")
    assert buffer.read() == ("ONE", "TWO")


def test_a_subclass_sees_all_lines_however_many_come_at_once():
    buffer, count = Seen(3), 20_000
    buffer.write("".join(f"{number}\n" for number in range(count)))
    assert buffer.seen == [str(number) for number in range(count)]
    assert len(buffer) == 3


def test_a_subclass_that_prints_into_itself_neither_hangs_nor_recurses():
    class Loud(linering.LineBuffer):
        def parse_lines(self, lines):
            self.write("parsing\n")
            super().parse_lines(lines)

    buffer = Loud(10)
    buffer.write("line\n")
    assert set(buffer.read()) == {"line", "parsing"}


def test_what_parse_lines_raises_comes_out_of_the_write():
    class Picky(linering.LineBuffer):
        def parse_lines(self, lines):
            raise LookupError(lines[0])

    with pytest.raises(LookupError, match="bad"):
        Picky(3).write("bad\n")


def test_a_forked_child_writes_into_its_parents_buffer():
    buffer = of("parent\n")
    child = os.fork()
    if child == 0:
        buffer.write("child\n")
        os._exit(0)
    os.waitpid(child, 0)
    assert buffer.read() == ("parent", "child")


def test_a_parse_lines_that_raises_is_called_again_the_next_time():
    class Picky(linering.LineBuffer):
        def parse_lines(self, lines):
            raise LookupError(lines[0])

    buffer = Picky(3)
    for text in ("one", "two"):
        with pytest.raises(LookupError, match=text):
            buffer.write(text + "\n")


def test_a_subclass_may_read_while_it_sees_lines():
    class Reads(linering.LineBuffer):
        def parse_lines(self, lines):
            super().parse_lines(lines)
            self.last = self.read(1)

    buffer = Reads(3)
    buffer.write("one\ntwo\n")
    assert buffer.last == ("two",)


def test_a_redirection_that_somebody_redirected_on_is_his_to_put_back(monkeypatch):
    buffer, out, err = of(), io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    with buffer:
        sys.stdout, sys.stderr = out, err
    assert (sys.stdout, sys.stderr) == (out, err)


def test_one_redirection_may_be_nested_in_itself():
    buffer, before = of(), sys.stdout
    redirection = linering.redirect_stdout(buffer)
    with redirection:
        with redirection:
            print("inner")
        print("outer")
    assert sys.stdout is before
    assert buffer.read() == ("inner", "outer")
