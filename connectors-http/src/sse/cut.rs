//! What is left of an event that is too large to keep.

/// How much of either end is kept.
const KEPT: usize = 512;

/// The ends of a text that is too large, gathered while it goes by.
#[derive(Debug, Default)]
pub(super) struct Cut {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Cut {
    /// The ends of what has been read so far.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut cut = Self::default();
        cut.push(text);
        cut
    }

    /// Takes the next bytes of the text.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let (start, rest) = piece.split_at(piece.len().min(KEPT - self.head.len()));
        self.head.extend_from_slice(start);
        let rest = &rest[rest.len().saturating_sub(KEPT)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(KEPT);
        self.tail.drain(..excess);
        self.tail.extend_from_slice(rest);
    }

    /// The first bytes, and the last ones of what follows them.
    pub(super) fn into_ends(self) -> (Vec<u8>, Vec<u8>) {
        (self.head, self.tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_do_not_overlap_and_depend_on_no_chunking() {
        let text: Vec<u8> = (0..2000u32).flat_map(u32::to_be_bytes).collect();
        for (length, chunk) in [(0, 1), (10, 3), (512, 512), (513, 1), (1024, 100), (1030, 1030), (8000, 7)] {
            let text = &text[..length];
            let mut cut = Cut::default();
            text.chunks(chunk).for_each(|piece| cut.push(piece));
            let (start, rest) = text.split_at(length.min(KEPT));
            let end = &rest[rest.len().saturating_sub(KEPT)..];
            assert_eq!(cut.into_ends(), (start.to_vec(), end.to_vec()), "{length} bytes by {chunk}");
        }
    }
}
