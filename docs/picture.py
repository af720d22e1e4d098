#!/usr/bin/env python3
"""Makes docs/run.svg: what a terminal shows of a real run. Needs rich (`pip install rich`) and a
release build.
"""

import os
import pty
import subprocess
import tempfile

from rich.console import Console
from rich.text import Text

SCRIPT = """#!/bin/sh
for step in 1 2 3; do echo "step $step"; done
echo "worker $LINERING_WORKER is at its end" >&2
[ $LINERING_WORKER != 1 ] || kill -KILL $$
"""
COMMAND = "linering run -n 3 --tag --timestamps -- ./worker.sh"

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
folder = tempfile.TemporaryDirectory()
with open(os.path.join(folder.name, "worker.sh"), "w") as script:
    script.write(SCRIPT)
os.chmod(script.name, 0o755)
terminal, side = pty.openpty()
environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
environment |= {"TERM": "xterm-256color", "PATH": f"{root}/target/release:{os.environ['PATH']}"}
process = subprocess.Popen(
    COMMAND.split(),
    cwd=folder.name,
    stdin=subprocess.DEVNULL,
    stdout=side,
    stderr=side,
    env=environment,
)
os.close(side)
shown = b""
try:
    while block := os.read(terminal, 65536):
        shown += block
except OSError:
    pass  # The end of a terminal.
code = process.wait()
assert code == 1, code
console = Console(
    record=True, width=88, file=open(os.devnull, "w"), force_terminal=True, color_system="truecolor"
)
console.print(Text(f"$ {COMMAND}", style="bold"))
console.print(Text.from_ansi(shown.decode().replace("\r\n", "\n").rstrip("\n")))
console.print(Text("$ echo $?\n1", style="bold"))
console.save_svg(os.path.join(root, "docs/run.svg"), title="linering run")
