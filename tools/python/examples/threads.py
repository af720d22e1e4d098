"""The last lines of four threads."""

from __future__ import annotations

import threading

import linering


def work(number: int) -> None:
    for step in range(3):
        # In pieces: those of different threads never mix.
        print("thread", number, end=" ")
        print("step", step)


def main() -> None:
    buffer = linering.LineBuffer(10)
    with linering.redirect_stdout(buffer):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for line in buffer.read():
        print(line)


if __name__ == "__main__":
    main()
