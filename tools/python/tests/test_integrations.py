"""Servers, frameworks and pytest-xdist, for real."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(1000)


def get(path, url):
    """A request to a server at a socket's path, which is asked until it is there."""
    connection = http.client.HTTPConnection("server")
    connection.sock = socket.socket(socket.AF_UNIX)
    while True:
        try:
            connection.sock.connect(str(path))
            break
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.01)
    connection.request("GET", url)
    answer = connection.getresponse().read()
    connection.close()
    return answer.decode()


def served(buffer, process, path):
    """What loggers wrote while the server answered a request: loggers' names and texts."""
    assert get(path, "/till") == "sold\n"
    process.send_signal(signal.SIGTERM)
    process.wait()
    ends = buffer.wait()
    assert not any(end.end == "never opened" for end in ends)
    records = [line for line in buffer.read() if line.stream == "log"]
    return {(line.record.name, str(line)) for line in records}


APP = """
import logging

def app(environ, start_response):
    logging.getLogger("shop").info("sold %s", environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"sold\\n"]
"""


def test_gunicorn(buffer, tmp_path):
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "gunicorn.conf.py").write_text(
        "import linering\nlogconfig_dict = linering.logging_config()\n"
    )
    command = [sys.executable, "-m", "gunicorn", "--bind", "unix:server", "-w", "2", "shop:app"]
    process = buffer.popen(command, cwd=tmp_path)
    came = served(buffer, process, tmp_path / "server")
    assert ("shop", "sold /till") in came
    assert any(name == "gunicorn.access" and "GET /till" in text for name, text in came)
    assert any(name == "gunicorn.error" and "Booting worker" in text for name, text in came)


UVICORN = """
import logging, linering, uvicorn

async def app(scope, receive, send):
    if scope["type"] == "http":
        logging.getLogger("shop").info("sold %s", scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"sold\\n"})

uvicorn.run(app, uds="server", log_config=linering.logging_config())
"""


def test_uvicorn(buffer, tmp_path):
    process = buffer.popen([sys.executable, "-c", UVICORN], cwd=tmp_path)
    came = served(buffer, process, tmp_path / "server")
    assert ("shop", "sold /till") in came
    assert any(name == "uvicorn.access" and "GET /till" in text for name, text in came)
    assert any(name == "uvicorn.error" and "startup complete" in text for name, text in came)


DJANGO = """
import django.conf, linering
django.conf.settings.configure(
    LOGGING=linering.logging_config(), ROOT_URLCONF="none", ALLOWED_HOSTS=["*"], SECRET_KEY="x",)
import sys, types
sys.modules["none"] = types.ModuleType("none")
sys.modules["none"].urlpatterns = []
django.setup()
import django.test
assert django.test.Client().get("/till").status_code == 404
"""


def test_django(buffer):
    process = buffer.popen([sys.executable, "-c", DJANGO])
    assert process.wait() == 0
    buffer.wait()
    (line,) = buffer.read()
    assert (line.record.name, str(line)) == ("django.request", "Not Found: /till")


def test_a_named_ring_in_a_configuration(tmp_path):
    buffer = linering.LineProcBuffer(10, file=tmp_path / "ring")
    program = (
        "import linering, logging.config, sys\n"
        "logging.config.dictConfig(linering.logging_config('DEBUG', file=sys.argv[1]))\n"
        "logging.debug('here')\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "ring"], check=True)
    buffer.wait()
    assert [str(line) for line in buffer.read()] == ["here"]


TESTS = """
import os, sys
def test_one():
    print("one\\nof two lines")
    print("error", file=sys.stderr)
def test_two():
    print("two")
def test_crashes():
    print("last words", flush=True)
    os._exit(3)
"""


@pytest.mark.parametrize("captured", [False, True])
def test_xdist(tmp_path, captured):
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "linering.xdist", "-n", "2", "test_it.py"]
    if not captured:
        command.append("-s")
    environ = {name: it for name, it in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environ)
    assert "2 passed" in done.stdout and "1 failed" in done.stdout, done.stdout + done.stderr
    printed = ["one", "of two lines", "error", "two", "last words"]
    # The dot of a test that passed may stand before it.
    shown = [text for text in re.findall(r"\[gw\d\] (.*)", done.stdout) if text in printed]
    assert sorted(shown) == ([] if captured else sorted(printed))
    if not captured:
        assert shown.index("of two lines") == shown.index("one") + 1
