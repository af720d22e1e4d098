import threading
import time
from contextlib import redirect_stdout
import syncstream


def worker_thread() -> None:
    '''Define the workder_thread.'''
    # Get the thread ID
    try:
        thd_id = threading.get_native_id()
    except AttributeError:
        thd_id = threading.get_ident()  # Fall back to py37
    # Print for 10 times.
    for i in range(10):
        time.sleep(0.1)
        print('Thd: "{0}";'.format(thd_id), 'Line:', 'buffer', 'new', i)


def run_4_threads(buffer: syncstream.LineBuffer) -> None:
    '''Run 4 threads with stdout redirected.'''
    # highlight-next-line
    with redirect_stdout(buffer):
        thd_pool = list()
        for _ in range(4):
            thd = threading.Thread(target=worker_thread)
            thd_pool.append(thd)
        for thd in thd_pool:
            thd.start()
        for thd in thd_pool:
            thd.join()


if __name__ == '__main__':
    # highlight-start
    tbuf = syncstream.LineBuffer(10)  # Initialization.
    run_4_threads(tbuf)  # Run 4 threads.

    messages = tbuf.read()  # Get results.
    # highlight-end
    for mitem in messages:
        print(mitem)
