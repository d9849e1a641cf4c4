//! Compressing a layer by gzip, on all processors.
//!
//! The stream is cut into blocks, each of which becomes a member of its own: RFC 1952, section 2.2, has a
//! file of several members mean their concatenation, and every reader of layers follows it. The output
//! depends on the input alone, so that a layer has the same digest wherever it is compressed.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Plain bytes of a member.
const BLOCK: usize = 1 << 20;
/// Towards the fast end: a fifth larger than what takes four times as long.
const LEVEL: u32 = 3;
/// Most threads.
const THREADS_MAX: usize = 8;

/// Compresses a stream.
pub(crate) fn gzip(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(THREADS_MAX);
    thread::scope(|scope| {
        // Blocks go round the threads, and come back in the same order.
        let mut lanes = Vec::new();
        for _ in 0..threads {
            let (blocks, work) = sync_channel::<Vec<u8>>(1);
            let (done, members) = sync_channel(1);
            scope.spawn(move || {
                for block in work {
                    if done.send(member(&block)).is_err() {
                        return;
                    }
                }
            });
            lanes.push((blocks, members));
        }
        let mut given = 0;
        let mut taken = 0;
        loop {
            let mut block = Vec::with_capacity(BLOCK);
            input.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
            // An empty stream is one empty member.
            if block.is_empty() && given > 0 {
                break;
            }
            let last = block.len() < BLOCK;
            if given - taken == threads {
                take(&lanes[taken % threads].1, &mut output)?;
                taken += 1;
            }
            lanes[given % threads]
                .0
                .send(block)
                .map_err(|_| io::Error::other("a thread ended"))?;
            given += 1;
            if last {
                break;
            }
        }
        while taken < given {
            take(&lanes[taken % threads].1, &mut output)?;
            taken += 1;
        }
        output.flush()
    })
}

fn take(members: &Receiver<io::Result<Vec<u8>>>, output: &mut impl Write) -> io::Result<()> {
    let member = members.recv();
    output.write_all(&member.map_err(|_| io::Error::other("a thread ended"))??)
}

fn member(block: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(BLOCK / 2), Compression::new(LEVEL));
    encoder.write_all(block)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_is_read_back() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7] {
            let bytes: Vec<u8> = (0..length).map(|n| (n / 1000).to_le_bytes()[0]).collect();
            let mut packed = Vec::new();
            gzip(bytes.as_slice(), &mut packed).expect("pack");
            let mut again = Vec::new();
            gzip(bytes.as_slice(), &mut again).expect("pack");
            assert_eq!(packed, again, "{length}");
            let mut read = Vec::new();
            let mut decoder = flate2::read::MultiGzDecoder::new(packed.as_slice());
            decoder.read_to_end(&mut read).expect("unpack");
            assert_eq!(read, bytes, "{length}");
        }
    }

    #[test]
    fn a_reader_that_fails_is_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        gzip([1_u8, 2, 3].as_slice().chain(Broken), Vec::new()).expect_err("broken");
    }
}
