"""What workers do: in a module of their own, so that those that are spawned find it. How they are
started.
"""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings


def start(method, work, *arguments):
    """A worker that was started by this method."""
    process = multiprocessing.get_context(method).Process(target=work, args=arguments)
    process.start()
    return process


def descriptors():
    """What this process has open. A test says what it left, by a difference of two: what an earlier
    test's thread closes meanwhile is nothing that it left.
    """
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
        except FileNotFoundError:
            pass  # The one of the listing itself.
    return found


def hello(mirror):
    """Prints to both streams."""
    with mirror:
        print("hello", "world")
        print("oh", file=sys.stderr)


def lines(mirror, count):
    with mirror:
        for number in range(count):
            print("line", number)


def fails(mirror):
    with mirror:
        print("before")
        raise ValueError("as planned")


def warns(mirror):
    with mirror:
        print("begun", end="")
        mirror.send_warning(UserWarning("careful"))
        print("after")


def prints_without_end(mirror):
    print("no eof", file=mirror)


def does_nothing(_mirror):
    pass


def exits_before_it_prints(mirror):
    os._exit(3)


def exits_in_the_middle(mirror):
    print("whole", file=mirror)
    print("in the mid", end="", file=mirror)
    os._exit(3)


def killed_after(mirror, count):
    for number in range(count):
        print("line", number, file=mirror)
    os.kill(os.getpid(), signal.SIGKILL)


def prints_for_ever(mirror, ready=None):
    number = 0
    while True:
        print("worker", mirror.worker, "line", number, file=mirror)
        number += 1
        if ready is not None and number == 100:
            ready.set()


def prints_until_stopped(mirror, ready):
    with mirror:
        while True:
            print("still here")
            ready.set()


def writes_pieces_in_threads(mirror, threads, count):
    """Each thread prints each of its lines in pieces."""
    begin = threading.Barrier(threads)

    def work(thread):
        begin.wait()
        for number in range(count):
            print(f"thread {thread} ", end="")
            print(f"line {number} ", end="")
            print("end")

    with mirror:
        started = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()


def logs(mirror):
    import linering

    logger = logging.Logger("shop.till", logging.DEBUG)
    logger.addHandler(linering.LogHandler(mirror))
    logger.debug("debug %d", 1)
    logger.warning("two\nlines", extra={"customer": 7})
    try:
        raise KeyError("price")
    except KeyError:
        logger.exception("cannot sell")
    mirror.send_eof()


def warns_python(mirror):
    with mirror:
        warnings.warn("from python")


def bars(mirror, steps):
    import tqdm

    with mirror:
        for _ in tqdm.tqdm(
            range(steps), desc=f"worker {mirror.worker}", mininterval=0, miniters=1, file=sys.stderr
        ):
            pass


def identity(value):
    return value


def carries(mirror, *_):
    """Never gets that far, or has no use for it."""


def kills_itself(mirror, is_first):
    if is_first:
        os.kill(os.getpid(), signal.SIGKILL)
    with mirror:
        print("x")


class Lingers:
    """A process that unpickles it dies slowly: it has nothing open any more but the connection, and
    one thread, which exits with 7 when the connection's other end is closed.
    """

    def __init__(self, connection):
        self.connection = connection

    def __reduce__(self):
        return lingers, (self.connection,)


def lingers(connection):
    threading.Thread(target=_exits_with_seven, args=(connection,)).start()
    # Ends the main thread alone.
    ctypes.CDLL(None).syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)


def _exits_with_seven(connection):
    kept = connection.fileno()
    os.closerange(0, kept)
    os.closerange(kept + 1, 65536)
    os.read(kept, 1)
    os._exit(7)


def dies_with(connection):
    """Unpickles a mirror, and is killed before it uses it."""
    mirror = connection.recv()
    connection.send(mirror.worker)
    connection.recv()
    os.kill(os.getpid(), signal.SIGKILL)


def keeps_until_told(connection):
    """Unpickles a mirror, and passes it on."""
    mirror = connection.recv()
    connection.send("has it")
    connection.recv()
    connection.send(mirror)
    connection.recv()


def pickles_it_for_itself(mirror):
    import pickle

    pickle.dumps(mirror)
    with mirror:
        print("x")


def exits_with(mirror, code):
    with mirror:
        print("x")
        sys.exit(code)


def raises_outside_of_a_block(mirror):
    print("x", file=mirror)
    raise LookupError("as planned")


def exits_outside_of_a_block(mirror, code):
    print("x", file=mirror)
    sys.exit(code)


def starts_a_program(mirror, command):
    import subprocess

    with mirror:
        subprocess.run(command, stdout=sys.stdout, stderr=sys.stderr, check=True)


def crashes_with_faulthandler(mirror):
    import faulthandler

    with mirror:
        faulthandler.enable()
        os.kill(os.getpid(), signal.SIGSEGV)


def writes_three_lines(mirror, way, count, begin):
    with mirror:
        begin.wait()
        for _ in range(count):
            if way == "print":
                print("a\nb\nc")
            elif way == "print to stderr":
                print("a\nb\nc", file=sys.stderr)
            elif way == "write":
                sys.stdout.write("a\nb\nc\n")
            else:
                print("a\nb", end="\nc\n")


def prints_and_returns(number):
    print(number)
    print("error", number, file=sys.stderr)
    return number


def divides(number, by):
    return number / by


def kills_the_process(number):
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def sleeps(_number):
    time.sleep(600)


kept = ()


def keep(*given):
    global kept
    kept = given


def dies_when_it_may():
    begun, may_die = kept
    begun.set()
    may_die.wait()
    os.kill(os.getpid(), signal.SIGKILL)
