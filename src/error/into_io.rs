//! Each error as an [`Error`], so that `?` works in functions that give one. The kind is that
//! of the cause, the text and the error itself stay inside.

use std::io::{Error, ErrorKind};

use super::{
    AttachError, CaptureError, CreateError, MirrorError, ParseError, PoolError, ReadError,
    SystemError, WriteError,
};

/// The kind of an error as `std` would have it.
trait Kind {
    fn kind(&self) -> ErrorKind;
}

impl Kind for SystemError {
    fn kind(&self) -> ErrorKind {
        self.error.kind()
    }
}

impl Kind for CreateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Option { .. } | Self::Name { .. } => ErrorKind::InvalidInput,
            Self::Taken { .. } => ErrorKind::AlreadyExists,
            Self::Memory { .. } => ErrorKind::OutOfMemory,
            Self::FileSize { .. } => ErrorKind::FileTooLarge,
            Self::System(system) => system.kind(),
        }
    }
}

impl Kind for AttachError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Memory { .. } => ErrorKind::OutOfMemory,
            Self::Owner { .. } => ErrorKind::PermissionDenied,
            Self::Name { .. } | Self::NotNamed { .. } | Self::Seat { .. } => {
                ErrorKind::InvalidInput
            }
            Self::System(system) => system.kind(),
            _ => ErrorKind::InvalidData,
        }
    }
}

impl Kind for MirrorError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooManyMirrors { .. } | Self::TooManySeats { .. } => ErrorKind::QuotaExceeded,
            Self::KeptOut => ErrorKind::ResourceBusy,
            Self::DescriptorClosed { .. } => ErrorKind::Other,
            Self::System(system) => system.kind(),
        }
    }
}

impl Kind for WriteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Ended | Self::Stopped | Self::Closed | Self::ReaderGone(_) => {
                ErrorKind::BrokenPipe
            }
            Self::TimedOut(_) => ErrorKind::TimedOut,
            // Not `Interrupted`: that would have `write_all` try once more.
            Self::Cancelled => ErrorKind::Other,
            Self::Reentrant => ErrorKind::WouldBlock,
            Self::OwnReader => ErrorKind::Deadlock,
            Self::Damaged | Self::CutShort => ErrorKind::InvalidData,
            Self::Mirror(mirror) => not_interrupted(mirror.kind()),
        }
    }
}

impl Kind for ReadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Interrupted => ErrorKind::Interrupted,
            Self::HasReader { .. } | Self::KeptOut => ErrorKind::ResourceBusy,
            Self::Forked => ErrorKind::Other,
            Self::CutShort => ErrorKind::InvalidData,
            Self::Mirror(mirror) => mirror.kind(),
            Self::System(system) => system.kind(),
        }
    }
}

impl Kind for ParseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }
}

impl Kind for PoolError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Number { .. } => ErrorKind::InvalidInput,
            Self::Mirror(mirror) => mirror.kind(),
            Self::Read(read) => read.kind(),
            Self::System(system) => system.kind(),
        }
    }
}

impl Kind for CaptureError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Mirror(mirror) => mirror.kind(),
            Self::System(system) => system.kind(),
        }
    }
}

/// A mirror that could not be had is not tried for again by `write_all`, which would never end.
fn not_interrupted(kind: ErrorKind) -> ErrorKind {
    if kind == ErrorKind::Interrupted { ErrorKind::Other } else { kind }
}

macro_rules! into_io {
    ($($error:ident)*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::new(error.kind(), error)
            }
        }
    )*};
}

into_io!(
    AttachError CaptureError CreateError MirrorError ParseError PoolError ReadError SystemError
    WriteError
);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn system() -> SystemError {
        SystemError::new("open it", Error::from_raw_os_error(libc::EACCES))
    }

    /// Each error type that holds another one, and one of each that holds none.
    fn errors() -> Vec<Box<dyn std::error::Error>> {
        let mirror = || MirrorError::System(system());
        let read = || ReadError::Mirror(mirror());
        vec![
            Box::new(system()),
            Box::new(CreateError::System(system())),
            Box::new(AttachError::System(system())),
            Box::new(mirror()),
            Box::new(WriteError::Mirror(mirror())),
            Box::new(WriteError::TimedOut(Duration::from_secs(1))),
            Box::new(ReadError::System(system())),
            Box::new(read()),
            Box::new(PoolError::Read(read())),
            Box::new(PoolError::System(system())),
            Box::new(CaptureError::Mirror(mirror())),
            Box::new(Error::from(PoolError::Read(read()))),
            Box::new(Error::from(WriteError::Mirror(mirror()))),
        ]
    }

    #[test]
    fn an_error_printed_with_its_sources_says_each_thing_once() {
        for error in errors() {
            let mut text = error.to_string();
            assert!(!text.is_empty());
            let mut source = error.source();
            while let Some(cause) = source {
                let said = cause.to_string();
                assert!(!text.contains(&said), "{text:?} is followed by {said:?}");
                text = said;
                source = cause.source();
            }
        }
    }

    #[test]
    fn a_function_that_gives_an_io_error_may_use_them_all() {
        fn kind<E: Into<Error>>(error: E) -> ErrorKind {
            error.into().kind()
        }
        let denied = ErrorKind::PermissionDenied;
        assert_eq!(kind(system()), denied);
        assert_eq!(kind(CreateError::System(system())), denied);
        assert_eq!(kind(AttachError::System(system())), denied);
        assert_eq!(kind(MirrorError::System(system())), denied);
        assert_eq!(kind(WriteError::Mirror(MirrorError::System(system()))), denied);
        assert_eq!(kind(ReadError::System(system())), denied);
        assert_eq!(kind(PoolError::Read(ReadError::System(system()))), denied);
        assert_eq!(kind(CaptureError::System(system())), denied);
        assert_eq!(kind(CreateError::Taken { found: "it".into() }), ErrorKind::AlreadyExists);
    }

    #[test]
    fn no_write_that_failed_for_good_is_tried_again() {
        let interrupted = SystemError::new("lock a cell", Error::from_raw_os_error(libc::EINTR));
        let error = WriteError::Mirror(MirrorError::System(interrupted));
        assert_ne!(Error::from(error).kind(), ErrorKind::Interrupted);
    }
}
