"""`LogHandler` and `LogListener` beside the standard library's queue handlers: what is in a record,
formatters and filters, handlers that raise or log themselves.
"""

import logging
import logging.config
import logging.handlers
import queue
import signal
import subprocess
import sys
import threading

import pytest
from collect import Collect

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100, policy="block")


def logger_into(*handlers):
    logger = logging.Logger("test")
    for handler in handlers:
        logger.addHandler(handler)
    return logger


def through(buffer, work, *handlers, set_up=lambda handler: None):
    """The records that come of what `work` logs."""
    mirror, collect = buffer.mirror, Collect()
    handler = linering.LogHandler(mirror)
    set_up(handler)
    with linering.LogListener(buffer, collect):
        work(logger_into(handler, *handlers))
        mirror.send_eof()
    return collect.records


class NoRepr:
    def __repr__(self):
        raise LookupError("no repr")


def circle():
    found = {}
    found["itself"] = found
    return found


def deep():
    found = []
    for _ in range(100_000):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: {(1, 2): 3}, "{(1, 2): 3}"),
        (circle, "{'itself': {...}}"),
        (NoRepr, "<NoRepr whose repr raised LookupError>"),
        (lambda: [NoRepr()], ["<NoRepr whose repr raised LookupError>"]),
        (lambda: {NoRepr(): 1}, "<dict whose repr raised LookupError>"),
        (deep, "<list whose repr raised RecursionError>"),
        (lambda: {1, 2}, "{1, 2}"),
    ],
)
def test_no_record_is_lost_for_what_is_in_it(buffer, make, expected, capsys):
    (record,) = through(buffer, lambda it: it.error("text", extra={"d": make(), "number": 5}))
    assert (record.getMessage(), record.d, record.number) == ("text", expected, 5)
    assert capsys.readouterr().err == ""


def test_big_fields_are_cut_whatever_is_in_them(buffer):
    extra = {"big": "y" * 100_000, "odd": {(1, 2): "z" * 100_000}, "bad": NoRepr(), "number": 5}
    (record,) = through(buffer, lambda it: it.error("text", extra=extra))
    assert (record.number, record.bad) == (5, "<NoRepr whose repr raised LookupError>")
    assert record.big.startswith("'yyy") and record.odd.startswith("{(1, 2): 'zzz")


def test_a_record_is_not_changed_for_other_handlers(buffer):
    class Before(Collect):
        def emit(self, record):
            self.records.append(record.__dict__.copy())

    def work(logger):
        # Behind the handler that is looked at.
        after = Before()
        logger.addHandler(after)
        try:
            raise KeyError("price")
        except KeyError:
            logger.exception("cannot %s", "sell")
        (fields,) = after.records
        assert fields["exc_text"] is None and fields["exc_info"] is not None
        assert (fields["msg"], fields["args"]) == ("cannot %s", ("sell",))
        assert "message" not in fields and "asctime" not in fields

    formatter = logging.Formatter("%(asctime)s %(message)s")
    for set_up in (lambda handler: None, lambda handler: handler.setFormatter(formatter)):
        assert len(through(buffer, work, set_up=set_up)) == 1


def test_a_formatter_works_as_with_a_queue_handler(buffer):
    formatter = logging.Formatter("%(levelname)s! %(message)s")

    def work(logger):
        try:
            raise KeyError("price")
        except KeyError:
            logger.exception("cannot %s", "sell")

    (record,) = through(buffer, work, set_up=lambda it: it.setFormatter(formatter))
    records = queue.SimpleQueue()
    theirs = logging.handlers.QueueHandler(records)
    theirs.setFormatter(formatter)
    work(logger_into(theirs))
    expected = records.get()
    for name in ("msg", "args", "exc_info", "exc_text", "levelname", "name"):
        assert getattr(record, name) == getattr(expected, name), name
    assert record.getMessage().startswith("ERROR! cannot sell\nTraceback")


def test_a_configuration_of_dictconfig(buffer):
    mirror, collect = buffer.mirror, Collect()

    class Only(logging.Filter):
        def filter(self, record):
            record.seen = True
            return record.getMessage() != "unwanted"

    logging.config.dictConfig({
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"short": {"format": "<%(message)s>"}},
        "filters": {"only": {"()": Only}},
        "handlers": {
            "ring": {
                "class": "linering.LogHandler", "mirror": mirror, "formatter": "short",
                "filters": ["only"], "level": "INFO",
            },
        },
        "loggers": {"configured": {"handlers": ["ring"], "level": "DEBUG", "propagate": False}},
    })  # fmt: skip
    logger = logging.getLogger("configured")
    try:
        with linering.LogListener(buffer, collect):
            for text in ("one", "unwanted", "two"):
                logger.info(text)
            logger.debug("three")
            mirror.send_eof()
    finally:
        logger.handlers.clear()
    assert [(it.getMessage(), it.seen) for it in collect.records] == [
        ("<one>", True), ("<two>", True),
    ]  # fmt: skip


def test_a_formatter_of_structlog(buffer):
    structlog = pytest.importorskip("structlog")
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(sort_keys=True),
        ]
    )

    def work(logger):
        log = structlog.wrap_logger(
            logger,
            processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            wrapper_class=structlog.stdlib.BoundLogger,
        )
        log.error("sold", customer=7)

    (record,) = through(buffer, work, set_up=lambda it: it.setFormatter(formatter))
    assert record.getMessage() == '{"customer": 7, "event": "sold"}'


@pytest.mark.parametrize("raises", [True, False])
def test_a_handler_that_raises_does_not_end_the_listener(buffer, raises, monkeypatch, capsys):
    class Raises(logging.Handler):
        def emit(self, record):
            raise LookupError("handler's own")

    monkeypatch.setattr(logging, "raiseExceptions", raises)
    mirror, collect = buffer.mirror, Collect()
    logger = logger_into(linering.LogHandler(mirror))
    with linering.LogListener(buffer, Raises(), collect):
        logger.error("one")
        logger.error("two")
        mirror.send_eof()
        assert [end.end for end in buffer.wait(timeout=20)] == ["eof"]
    assert [record.getMessage() for record in collect.records] == ["one", "two"]
    assert capsys.readouterr().err.count("LookupError: handler's own") == (2 if raises else 0)


def test_lines_that_a_subclass_refuses_do_not_end_the_listener(capsys):
    class Picky(linering.LineProcBuffer):
        def parse_lines(self, lines):
            raise LookupError(*lines)

    buffer, collect, came = Picky(10), Collect(), threading.Event()
    collect.emit = lambda record: collect.records.append(record) or came.set()
    mirror = buffer.mirror
    with linering.LogListener(buffer, collect):
        print("line", file=mirror)
        while "LookupError: line" not in capsys.readouterr().err:
            pass
        logger_into(linering.LogHandler(mirror)).error("after")
        came.wait()
    mirror.send_eof()


@pytest.mark.parametrize("shared", [True, False])
def test_a_handler_that_logs_into_the_ring_that_it_is_fed_from(shared):
    """As with a queue listener: each of 1,000 records comes, and each that its handler logs."""
    count = 1000
    buffer = linering.LineProcBuffer(10, policy="block", lines=16)
    mirror = buffer.mirror
    handler = linering.LogHandler(mirror)
    again = logger_into(handler if shared else linering.LogHandler(buffer.mirror))
    records, came = [], threading.Event()

    class Again(logging.Handler):
        def emit(self, record):
            records.append(record.getMessage())
            if record.getMessage().startswith("first"):
                again.info("again of %s", record.getMessage())
            if len(records) == 2 * count:
                came.set()

    logger = logger_into(handler)
    with linering.LogListener(buffer, Again()):
        for number in range(count):
            logger.info("first %d", number)
        came.wait()
    firsts = [text for text in records if text.startswith("first")]
    assert firsts == [f"first {number}" for number in range(count)]
    assert sorted(records) == sorted(firsts + [f"again of {text}" for text in firsts])


def test_a_reader_that_prints_into_its_own_ring():
    """Each of the lines that it reads."""
    count = 1000
    buffer = linering.LineProcBuffer(10, policy="block", lines=16)
    mirror, echo = buffer.mirror, buffer.mirror

    def writes():
        for number in range(count):
            print(number, file=mirror)
        mirror.send_eof()

    writing = threading.Thread(target=writes)
    writing.start()
    found = []
    for line in buffer.drain():
        found.append(str(line))
        if not line.startswith("echo"):
            print("echo", line, file=echo)
        if len(found) == 2 * count:
            echo.send_eof()
    writing.join()
    assert len(found) == 2 * count
    assert [text for text in found if not text.startswith("echo")] == list(map(str, range(count)))


def test_parse_lines_that_prints_into_its_own_ring():
    class Echo(linering.LineProcBuffer):
        def parse_lines(self, lines):
            super().parse_lines(lines)
            for line in lines:
                if not line.startswith("echo"):
                    print("echo", line, file=self.echo)

    count = 100
    buffer = Echo(10_000, policy="block", lines=16)
    mirror = buffer.mirror
    buffer.echo = buffer.mirror

    def writes():
        for number in range(count):
            print(number, file=mirror)
        mirror.send_eof()

    writing = threading.Thread(target=writes)
    writing.start()
    while len(buffer.read()) < 2 * count:
        buffer.receive()
    writing.join()
    buffer.echo.send_eof()
    buffer.wait()
    assert sorted(map(str, buffer.read())) == sorted(
        [str(number) for number in range(count)] + [f"echo {number}" for number in range(count)]
    )


@pytest.mark.parametrize("kind", ["print", "log", "stderr", "warning", "pieces"])
def test_a_handler_of_a_signal_that_writes_while_a_write_waits(buffer, kind):
    """Its line comes, after the one that it interrupted, and nothing is raised."""
    buffer = linering.LineProcBuffer(100, policy="block", lines=16)
    mirror, has_run = buffer.mirror, threading.Event()
    logger = logger_into(linering.LogHandler(mirror))
    for number in range(15):
        print("line", number, file=mirror)

    def writes(*_):
        if not mirror._is_writing() or has_run.is_set():
            return
        has_run.set()
        {
            "print": lambda: print("handler", file=mirror),
            "pieces": lambda: [mirror.write(piece) for piece in ("han", "dl", "er\n")],
            "log": lambda: logger.error("handler"),
            "stderr": lambda: print("handler", file=mirror.stderr),
            "warning": lambda: mirror.send_warning(UserWarning("handler")),
        }[kind]()

    receiver = threading.get_ident()
    over = threading.Event()

    def sends():
        while not has_run.is_set() and not over.is_set():
            signal.pthread_kill(receiver, signal.SIGUSR1)

    found = []

    def reads():
        has_run.wait()
        found.extend(buffer.drain())

    before = signal.signal(signal.SIGUSR1, writes)
    threads = [threading.Thread(target=sends), threading.Thread(target=reads)]
    for thread in threads:
        thread.start()
    try:
        for number in range(15, 20):
            print("line", number, file=mirror)
    finally:
        over.set()
        threads[0].join()
        signal.signal(signal.SIGUSR1, before)
    mirror.send_eof()
    threads[1].join()
    lines = [str(it) for it in found]
    handlers = [text for text in lines if "handler" in text]
    assert handlers == ["UserWarning: handler" if kind == "warning" else "handler"]
    assert [text for text in lines if text.startswith("line")] == [
        f"line {number}" for number in range(20)
    ]


def test_what_handlers_of_signals_print_above_a_bound_is_counted():
    buffer = linering.LineProcBuffer(100_000, policy="block", lines=16)
    mirror, has_run = buffer.mirror, threading.Event()
    for number in range(16):
        print("line", number, file=mirror)
    printed = 60_000

    def writes(*_):
        if mirror._is_writing() and not has_run.is_set():
            has_run.set()
            for number in range(printed):
                mirror.write(f"handler {number}\n")

    receiver, over = threading.get_ident(), threading.Event()

    def sends():
        while not has_run.is_set() and not over.is_set():
            signal.pthread_kill(receiver, signal.SIGUSR1)

    def reads():
        has_run.wait()
        while not buffer._is_over():
            buffer._pump(0.01)

    before = signal.signal(signal.SIGUSR1, writes)
    threads = [threading.Thread(target=sends), threading.Thread(target=reads)]
    for thread in threads:
        thread.start()
    try:
        print("the last", file=mirror)
    finally:
        over.set()
        threads[0].join()
        signal.signal(signal.SIGUSR1, before)
    mirror.send_eof()
    threads[1].join()
    lines = [str(it) for it in buffer.read()]
    came = [text for text in lines if text.startswith("handler")]
    assert came == [f"handler {number}" for number in range(len(came))]
    (lost,) = [text for text in lines if text.startswith("--")]
    assert lost == f"-- {printed - len(came)} prints of signal handlers lost, no room --"
    assert 1000 < len(came) < printed


GREENLETS = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all(); import gevent as green",
    "eventlet": "import eventlet; eventlet.monkey_patch(); import eventlet as green",
}


@pytest.mark.parametrize("order", ["patched first", "imported first"])
@pytest.mark.parametrize("library", sorted(GREENLETS))
@pytest.mark.parametrize("use", ["wait", "listener", "drain", "write", "receive"])
def test_waits_let_other_greenlets_run(library, use, order):
    pytest.importorskip(library)
    lines = [GREENLETS[library], "import linering"]
    program = "\n".join(lines if order == "patched first" else reversed(lines)) + f"""
import logging, threading, time
buffer = linering.LineProcBuffer(100, policy="block", lines=16)
mirror = buffer.mirror
count = 100
def writes():
    logger = logging.Logger("green")
    logger.addHandler(linering.LogHandler(mirror))
    for number in range(count):
        if {use!r} == "listener":
            logger.error("line %d", number)
        else:
            print("line", number, file=mirror)
        if {use!r} != "write":
            time.sleep(0)
    mirror.send_eof()
records = []
class Collect(logging.Handler):
    def emit(self, record):
        records.append(record.getMessage())
if {use!r} == "listener":
    with linering.LogListener(buffer, Collect()):
        writes()
        buffer.wait()
else:
    green.spawn(writes)
    if {use!r} == "drain":
        records = [str(line) for line in buffer.drain()]
    elif {use!r} == "receive":
        while buffer.receive():
            pass
        records = buffer.read()
    else:
        buffer.wait()
        records = buffer.read()
assert [str(it) for it in records] == [f"line {{number}}" for number in range(count)], records
print("done")
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=25)
    assert (done.stdout.strip(), done.stderr) == ("done", "")
