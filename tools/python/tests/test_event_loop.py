"""`async for`: an event loop reads without a thread, notices deaths, and is left as it was."""

import asyncio
import threading

import pytest
import workers

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100, policy="block")


def test_an_event_loop_reads_without_a_thread(buffer):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        processes = [workers.start("fork", workers.lines, buffer.mirror, 5000) for _ in range(2)]
        lines = [line async for line in buffer.drain()]
        ticking.cancel()
        for process in processes:
            process.join()
        return lines, ticks

    before = set(threading.enumerate())
    lines, ticks = asyncio.run(main())
    assert len(lines) == 10_000
    assert set(threading.enumerate()) <= before
    for worker in (0, 1):
        assert [line for line in lines if line.worker == worker] == [
            f"line {number}" for number in range(5000)
        ]


def test_an_event_loop_notices_a_death(buffer):
    async def main():
        process = workers.start("fork", workers.killed_after, buffer.mirror, 3)
        lines = [line async for line in buffer.drain()]
        process.join()
        return lines

    assert asyncio.run(main()) == ["line 0", "line 1", "line 2"]
    assert [end.end for end in buffer.wait()] == ["died"]


def test_an_event_loops_reader_may_be_cancelled_and_another_goes_on(buffer):
    mirror = buffer.mirror
    print("one", file=mirror)

    async def main():
        async def read(into):
            async for line in buffer.drain():
                into.append(str(line))

        first, second = [], []
        reading = asyncio.create_task(read(first))
        while not first:
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        print("two", file=mirror)
        mirror.send_eof()
        await read(second)
        return first, second

    assert asyncio.run(main()) == (["one"], ["two"])


def test_an_event_loop_notices_a_death_before_the_first_line(buffer):
    async def main():
        process = workers.start("fork", workers.exits_before_it_prints, buffer.mirror)
        lines = [line async for line in buffer.drain()]
        process.join()
        return lines

    assert asyncio.run(main()) == []
    assert [end.end for end in buffer.wait()] == ["died"]


def test_an_event_loop_is_left_as_it_was(buffer):
    """Nothing is reported to it, and nothing watched any longer."""
    mirror, problems = buffer.mirror, []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: problems.append(context))
        writes = loop.create_task(write())
        lines = [line async for line in buffer.drain()]
        await writes
        assert not loop.remove_reader(buffer._reader.fileno())
        return lines

    async def write():
        for number in range(3):
            await asyncio.sleep(0)
            print(number, file=mirror)
        mirror.send_eof()

    assert asyncio.run(main()) == ["0", "1", "2"]
    assert problems == []
