//! Documents that come one after the other in one answer.

use serde::de::DeserializeOwned;

use super::{ClientError, Reply};

/// The documents of an answer, as they come.
pub(crate) struct Documents<'a> {
    reply: Reply<'a>,
    pending: Vec<u8>,
}

impl<'a> Documents<'a> {
    pub(crate) fn new(reply: Reply<'a>) -> Self {
        Self {
            reply,
            pending: Vec::new(),
        }
    }

    /// Waits for the next document; `None` at the end of the answer.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            let mut documents =
                serde_json::Deserializer::from_slice(&self.pending).into_iter::<T>();
            match documents.next() {
                Some(Ok(document)) => {
                    let length = documents.byte_offset();
                    self.pending.drain(..length);
                    return Ok(Some(document));
                }
                Some(Err(error)) if !error.is_eof() => return Err(ClientError::Decode(error)),
                _ => {}
            }
            match self.reply.piece().await? {
                Some(piece) => self.pending.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}
