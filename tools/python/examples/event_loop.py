"""Workers' lines in an event loop, without a thread."""

from __future__ import annotations

import asyncio
import sys

import linering

PROGRAM = """
import linering
with linering.LineProcMirror.from_environ():
    for step in range(3):
        print("step", step)
"""


async def main() -> None:
    pbuf = linering.LineProcBuffer(100, policy="block")
    command = (sys.executable, "-c", PROGRAM)
    workers = [
        await asyncio.create_subprocess_exec(*command, env=pbuf.mirror.environ()) for _ in range(2)
    ]
    async for line in pbuf.drain():
        print(line.worker, line)
    for worker in workers:
        assert await worker.wait() == 0


if __name__ == "__main__":
    asyncio.run(main())
