//! A file as a request's body.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};

/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// Sends a file, or whatever a pipe yields. Reading blocks, which is well here: while a file is sent
/// there is nothing else to do.
pub(crate) struct FileBody(File);

impl FileBody {
    /// Returns a body with the file's content from where it stands.
    pub(crate) fn new(file: File) -> Self {
        Self(file)
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut piece = vec![0; PIECE];
        Poll::Ready(match self.0.read(&mut piece) {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some(Ok(Frame::data(piece.into())))
            }
            Err(error) => Some(Err(error)),
        })
    }
}
