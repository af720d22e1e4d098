//! Datagrams to a socket that has a path, whatever their size.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
};

/// A socket of this process's own, which sends to the one at a path: whatever is bound there at
/// that moment.
#[derive(Debug)]
pub(crate) struct Datagrams {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Datagrams {
    /// To this path. A send that finds no room waits for so long.
    pub(crate) fn to(path: &Path, patience: Duration) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(patience))?;
        // A path that is too long for a socket.
        SocketAddrUnix::new(path)?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// Sends it whole, or fails: as a datagram, or, where it is too long for one, as a memory file
    /// that can be neither changed nor cut, which an empty datagram carries.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.try_send(bytes).map_err(|error| {
            io::Error::new(error.kind(), format!("the socket {}: {error}", self.path.display()))
        })
    }

    fn try_send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to(bytes, &self.path) {
                Ok(_) => return Ok(()),
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::INTR) => {}
                    Some(Errno::MSGSIZE | Errno::NOBUFS) => return self.send_file(bytes),
                    _ => return Err(error),
                },
            }
        }
    }

    fn send_file(&self, bytes: &[u8]) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = std::fs::File::from(memfd_create(c"linering-datagram", flags)?);
        file.write_all(bytes)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        fcntl_add_seals(&file, seals)?;
        let descriptors = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let address = SocketAddrUnix::new(&self.path)?;
        let nothing = [IoSlice::new(&[])];
        let send =
            || sendmsg_addr(&self.socket, &address, &nothing, &mut control, SendFlags::NOSIGNAL);
        rustix::io::retry_on_intr(send)?;
        Ok(())
    }
}
