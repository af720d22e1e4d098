"""The package as others get it: the seed programs, the wheel, odd interpreters."""

import os
import re
import subprocess
import sys
import threading
import venv
from pathlib import Path

import pytest
import workers

import linering

SEEDS = Path(__file__).parent / "seeds"


def run(program, *arguments, **options):
    return subprocess.run(
        [sys.executable, program, *arguments], capture_output=True, text=True, **options
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_seed_of_processes_runs_with_one_import_changed(tmp_path, method):
    text = (SEEDS / "sync-proc.py").read_text()
    assert text.count("import syncstream") == 1
    program = tmp_path / "sync_proc.py"
    text = text.replace("import syncstream", "import linering as syncstream")
    program.write_text(text)
    if method != "fork":
        program.write_text(
            text.replace(
                "if __name__ == '__main__':\n",
                f"if __name__ == '__main__':\n    multiprocessing.set_start_method('{method}')\n",
            )
        )
    done = run(program)
    assert (done.stdout, done.stderr) == ("Message item\n" * 4, "")


def test_the_seed_of_threads_runs_with_one_import_changed(tmp_path):
    text = (SEEDS / "sync-thread.py").read_text()
    assert text.count("import syncstream") == 1
    program = tmp_path / "sync_thread.py"
    program.write_text(text.replace("import syncstream", "import linering as syncstream"))
    done = run(program)
    lines = done.stdout.splitlines()
    assert done.stderr == "" and len(lines) == 10
    assert all(re.fullmatch(r'Thd: "\d+"; Line: buffer new \d', line) for line in lines)
    assert sum(line.endswith(" 9") for line in lines) == 4


@pytest.fixture(scope="session")
def clean(tmp_path_factory):
    """A clean environment with the wheel and nothing else."""
    wheel = os.environ.get("LINERING_WHEEL")
    if wheel is None:
        pytest.fail(
            "LINERING_WHEEL is not set, expected the wheel's path: run these tests by"
            " tools/python/test"
        )
    where = tmp_path_factory.mktemp("clean")
    venv.create(where, with_pip=True)
    install = [
        where / "bin/pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
        wheel,
    ]
    subprocess.run(install, check=True)
    return where / "bin/python"


def test_the_wheel_works_in_a_clean_environment(clean, tmp_path):
    program = """
import linering, os
pbuf = linering.LineProcBuffer(10)
mirror = pbuf.mirror
if os.fork() == 0:
    with mirror:
        print("from the wheel")
    os._exit(0)
pbuf.wait()
print(*pbuf.read())
print(os.path.exists(os.path.join(os.path.dirname(linering.__file__), "py.typed")))
"""
    done = subprocess.run([clean, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("from the wheel\nTrue\n", "")


def test_the_wheel_is_for_every_interpreter_from_3_9_on():
    assert re.search(r"-cp39-abi3-.*linux.*\.whl$", os.environ.get("LINERING_WHEEL", "")), (
        "see test_the_wheel_works"
    )


def test_a_subinterpreter_is_refused_and_hangs_nothing():
    program = """
import linering
try:
    import _interpreters as interpreters
except ImportError:
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        print("refused")
        raise SystemExit
other = interpreters.create()
try:
    failed = interpreters.run_string(other, "import linering")
except Exception as error:
    failed = error
assert "subinterpreter" in repr(failed), failed
interpreters.destroy(other)
print("refused")
"""
    done = run("-c", program)
    assert (done.stdout, done.returncode) == ("refused\n", 0), done.stderr


def test_a_free_threaded_interpreter_is_refused_before_the_extension_module_is_loaded():
    """Made believe that this one is of that kind."""
    program = """
import sys
sys.abiflags += "t"
try:
    import linering
except ImportError as error:
    print(error, "linering._linering" in sys.modules)
"""
    done = run("-c", program)
    expected = (
        "this is a free-threaded Python, expected one with the interpreter lock, which linering"
        " relies on False\n"
    )
    assert done.stdout == expected, done.stderr


def test_a_fork_of_a_parent_whose_threads_print_and_read_hangs_nobody():
    """Locks that other threads hold at the moment of the fork stay locked in the child: it needs
    none of them.
    """
    buffer = linering.LineProcBuffer(100, policy="block", lines=64)
    threads_buffer = linering.LineBuffer(100)
    shared = buffer.mirror
    over = threading.Event()

    def prints():
        while not over.is_set():
            print("parent", file=shared)
            print("thread", file=threads_buffer)

    lines = []
    reader = threading.Thread(target=lambda: lines.extend(buffer.drain()))
    printing = [threading.Thread(target=prints) for _ in range(3)]
    for thread in [reader, *printing]:
        thread.start()
    children = []
    for number in range(50):
        mirror = buffer.mirror
        child = os.fork()
        if child == 0:
            print("inherited", number, file=shared)
            shared.send_eof()
            print("child", number, file=threads_buffer)
            workers.lines(mirror, 3)
            os._exit(0)
        children.append(child)
        del mirror
    codes = [os.waitpid(child, 0)[1] for child in children]
    over.set()
    for thread in printing:
        thread.join()
    shared.send_eof()
    reader.join()
    assert codes == [0] * 50
    assert sorted(line for line in lines if line.startswith("inherited")) == sorted(
        f"inherited {number}" for number in range(50)
    )
    assert sum(line.startswith("line ") for line in lines) == 150


def test_another_system_than_linux_is_refused():
    done = run("-c", "import platform; platform.system = lambda: 'Plan 9'; import linering")
    assert "ImportError: linering runs on Plan 9, expected Linux" in done.stderr
