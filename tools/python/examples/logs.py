"""Workers that log: their records go through ordinary handlers of the parent."""

from __future__ import annotations

import concurrent.futures
import logging
import sys

import linering


def work(mirror: linering.LineProcMirror, number: int) -> int:
    logger = logging.getLogger("worker")
    logger.setLevel(logging.INFO)
    logger.handlers = [linering.LogHandler(mirror)]
    logger.info("task %d", number)
    try:
        return 100 // number
    except ZeroDivisionError:
        logger.exception("task %d failed", number)
        return 0
    finally:
        mirror.send_eof()


def main() -> None:
    pbuf = linering.LineProcBuffer(100, policy="block")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(processName)s %(levelname)s %(name)s: %(message)s"))
    mirror = pbuf.mirror
    with linering.LogListener(pbuf, handler), concurrent.futures.ProcessPoolExecutor(2) as executor:
        results = executor.map(work, [mirror] * 3, range(3))
        print(list(results))


if __name__ == "__main__":
    main()
