//! ipc-channel: its channel of bytes, without serialisation. On Linux it is a Unix socket, so its
//! room is the kernel's. Writers use copies of one sender, which children inherit.

use std::sync::Mutex;

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};

use crate::transport::{Reader, Setup, Shelf, Transport, Writer};

pub struct IpcChannel {
    /// Each writer has a copy of its own, of the same socket.
    sender: Mutex<IpcBytesSender>,
    reader: Shelf<ChannelReader>,
}

impl<const N: usize> Transport<N> for IpcChannel {
    type Writer = IpcBytesSender;
    type Reader = ChannelReader;

    fn make(setup: &Setup) -> Result<Self, String> {
        let (sender, end) = bytes_channel().map_err(|error| error.to_string())?;
        let reader = ChannelReader { end, blocks: setup.blocks() };
        Ok(Self { sender: Mutex::new(sender), reader: Shelf::new([reader]) })
    }

    fn writer(&self, _: usize) -> IpcBytesSender {
        self.sender.lock().expect("no thread panics with it").clone()
    }

    fn reader(&self) -> ChannelReader {
        self.reader.take(0)
    }

    fn room(&self) -> Option<usize> {
        None
    }
}

impl<const N: usize> Writer<N> for IpcBytesSender {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        IpcBytesSender::send(self, line).expect("the reader lives");
    }
}

pub struct ChannelReader {
    end: IpcBytesReceiver,
    blocks: bool,
}

impl<const N: usize> Reader<N> for ChannelReader {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        if self.blocks {
            sink(&self.end.recv().expect("a writer lives"));
            return 1;
        }
        match self.end.try_recv() {
            Ok(line) => {
                sink(&line);
                1
            }
            Err(_) => 0,
        }
    }
}
