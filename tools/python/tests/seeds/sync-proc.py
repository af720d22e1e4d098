import multiprocessing
from contextlib import redirect_stdout
import syncstream


def worker_process(buffer: syncstream.LineProcMirror):
    '''定义workder_process。'''
    try:
        # highlight-next-line
        with redirect_stdout(buffer):
            print('Message', 'item')
    except Exception as err:
        buffer.send_error(err)
    else:
        buffer.send_eof()


if __name__ == '__main__':
    # highlight-next-line
    pbuf = syncstream.LineProcBuffer(10)  # 初始化。
    with multiprocessing.Pool(4) as pool:
        pool.map_async(
            worker_process,
            # highlight-next-line
            tuple(pbuf.mirror for _ in range(4))
        )  # 运行四个进程。
        # highlight-next-line
        pbuf.wait()  # 等待终结信号。

    # highlight-next-line
    messages = pbuf.read()  # 获得结果。
    for mitem in messages:
        print(mitem)
