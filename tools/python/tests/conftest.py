"""What all tests need: a time limit that ends a test which hangs, and workers' context managers."""

import faulthandler
import os
import signal
import sys
from pathlib import Path

import pytest

LIMIT = 30
"""Seconds after which a test hangs, on the slowest machine. No test measures time."""

sys.path.insert(0, str(Path(__file__).parent))

# A shell that runs this in the background may have Ctrl-C ignored, which the programs that are
# started here would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_hang(request):
    """A test that hangs says where, in all threads, and ends the run."""
    faulthandler.dump_traceback_later(LIMIT, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def children():
    """Kills what a test leaves running."""
    pids = []
    yield pids
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
