"""`sed s/syncstream/linering/` is all that it takes."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import linering
import linering.base
import linering.mproc
import linering.utils


def test_syncstreams_own_tests_pass(tmp_path):
    archives = list(Path(sys.prefix, "syncstream").glob("syncstream-*.tar.gz"))
    if not archives:
        pytest.fail("found no syncstream to take tests from: run these tests by tools/python/test")
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            name = Path(member.name).name
            if name in ("conftest.py", "test_mproc.py"):
                text = archive.extractfile(member).read().decode()
                (tmp_path / name).write_text(text.replace("syncstream", "linering"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mproc.py"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "9 passed" in done.stdout, done.stdout


def test_its_modules_are_there():
    assert linering.mproc.LineBuffer is linering.LineBuffer
    assert linering.base.GroupedMessage is linering.GroupedMessage
    assert linering.base.redirect_stdout is linering.redirect_stdout
    for module in (linering.mproc, linering.base, linering.utils):
        assert all(hasattr(module, name) for name in module.__all__)


def test_buffers_take_a_type_in_annotations():
    assert linering.LineBuffer[str].__origin__ is linering.LineBuffer
    assert linering.LineBuffer[str](3).maxlen == 3
    assert linering.LineProcBuffer[linering.GroupedMessage](3).maxlen == 3


@pytest.mark.parametrize(
    ("text", "ends"), [("", False), ("a", False), ("a\n", True), ("a\r", True), ("a\u2028", True)]
)
def test_ends_of_lines(text, ends):
    assert linering.base.is_end_line_break(text) == ends


def test_serialized_messages():
    message = linering.GroupedMessage(ValueError("x"))
    assert linering.base.is_serialized_grouped_message(message.serialize())
    for other in (None, {}, {"/is_syncsdata": True}, [1]):
        assert not linering.base.is_serialized_grouped_message(other)


def test_modules_are_imported_at_their_first_use(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lazy_one.py").write_text("import lazy_two\nvalue = 1\ndef call(): return 2\n")
    (tmp_path / "lazy_two.py").write_text("")
    utils = linering.utils
    module = utils.lazy_import("lazy_one", package=None, dependencies="lazy_two")
    call = utils.get_lazy_attribute(module, "call", __name__)
    assert "lazy_two" not in sys.modules and not utils.is_module_invalid(module)
    assert (call(), module.value, "lazy_two" in sys.modules) == (2, 1, True)
    assert utils.lazy_import("lazy_one", package=None) is sys.modules["lazy_one"]
    missing = utils.lazy_import("lazy_none", package=None, required=False)
    assert utils.is_module_invalid(missing)
    assert utils.get_lazy_attribute(missing, "call", __name__) is None
    with pytest.raises(ImportError, match="found no module 'lazy_none'"):
        missing.anything
    with pytest.raises(ModuleNotFoundError, match="found no module 'lazy_none'"):
        utils.lazy_import("lazy_none", package=None)
