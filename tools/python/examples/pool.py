"""What a pool's workers print, one of which fails and one of which is killed; every line as it
comes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal

import linering


def work(mirror: linering.LineProcMirror) -> None:
    with mirror:
        print("at work")
        if mirror.worker == 1:
            raise ValueError("no luck")
        if mirror.worker == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        print("done")


def main() -> None:
    pbuf = linering.LineProcBuffer(100, policy="block")
    processes = [multiprocessing.Process(target=work, args=(pbuf.mirror,)) for _ in range(4)]
    for process in processes:
        process.start()
    for line in pbuf.drain():
        print(f"[{line.worker}] {line}")
    for end in pbuf.wait():
        print(end)
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
