//! Maps of sparse files: GNU's old header form and its three pax forms.

use super::{SEGMENTS_MAX, Segment, TarError, header};

/// Reads the offset and length pairs of GNU's old form; an empty pair ends the list.
pub(super) fn gnu(fields: &[u8], into: &mut Vec<Segment>) -> Result<(), TarError> {
    for pair in fields.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        let read = |field: &[u8]| {
            header::number(field)
                .and_then(|value| u64::try_from(value).ok())
                .ok_or(TarError::Sparse)
        };
        if into.len() >= SEGMENTS_MAX {
            return Err(TarError::TooLong("the map of a sparse file"));
        }
        into.push(Segment {
            offset: read(&pair[..12])?,
            length: read(&pair[12..])?,
        });
    }
    Ok(())
}

/// Makes segments of offsets and lengths by turns.
pub(super) fn pairs(numbers: &[u64]) -> Result<Vec<Segment>, TarError> {
    if !numbers.len().is_multiple_of(2) {
        return Err(TarError::Sparse);
    }
    Ok(numbers
        .chunks_exact(2)
        .map(|pair| Segment {
            offset: pair[0],
            length: pair[1],
        })
        .collect())
}

/// Checks that the segments ascend without overlap, end within the file, and hold what is stored.
pub(super) fn check(segments: &[Segment], size: u64, stored: u64) -> Result<(), TarError> {
    let mut end = 0;
    let mut held = 0_u64;
    for segment in segments {
        if segment.offset < end {
            return Err(TarError::Sparse);
        }
        end = segment
            .offset
            .checked_add(segment.length)
            .ok_or(TarError::Sparse)?;
        held += segment.length;
    }
    if end > size || held != stored {
        return Err(TarError::Sparse);
    }
    Ok(())
}
