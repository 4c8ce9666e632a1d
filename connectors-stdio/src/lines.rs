//! Cutting a byte stream into lines, under a limit.

use bytes::{Bytes, BytesMut};

/// How much of either end of an over-long line is kept.
const KEPT_OF_OVERLONG: usize = 512;
/// Room that is made for a read at the start of a line.
const FIRST_READ: usize = 8 << 10;
/// Room that is made for a read inside a line.
const FURTHER_READ: usize = 64 << 10;
/// A larger buffer is given back once it is empty.
const IDLE_BUFFER: usize = 128 << 10;

/// A line without its end (`\n` or `\r\n`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line within the limit.
    Whole(Bytes),
    /// A line over the limit, of which only the ends are left.
    TooLong {
        /// Its first bytes, at most 512.
        head: Bytes,
        /// Its last bytes, at most 512, not overlapping `head`.
        tail: Bytes,
    },
}

/// Collects what is read from a stream and hands out its lines.
///
/// Lines of white space are left out. Memory is bounded: a line over the limit is dropped while it is being read. Bytes
/// are moved once, from the reader into this buffer; a [`Line`] borrows them by reference count.
///
/// ```
/// use connectors_stdio::lines::{Line, LineBuffer};
///
/// let mut lines = LineBuffer::new(1024);
/// lines.push(b"{\"id\":1}\r\n\n{\"id\"");
/// assert_eq!(lines.next_line(), Some(Line::Whole("{\"id\":1}".into())));
/// assert_eq!(lines.next_line(), None);
/// lines.push(b":2}");
/// assert_eq!(lines.finish(), Some(Line::Whole("{\"id\":2}".into())));
/// ```
#[derive(Debug)]
pub struct LineBuffer {
    unread: BytesMut,
    /// How much of `unread` is known to hold no line end.
    scanned: usize,
    limit: usize,
    /// The ends of the line being skipped.
    skipped: Option<(Bytes, BytesMut)>,
}

impl LineBuffer {
    /// An empty buffer for lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { unread: BytesMut::new(), scanned: 0, limit, skipped: None }
    }

    /// Where to read the next bytes to: append to it, and take every line with [`next_line`](Self::next_line) before
    /// the next read.
    pub fn space(&mut self) -> &mut BytesMut {
        if self.unread.is_empty() {
            if self.unread.capacity() > IDLE_BUFFER {
                self.unread = BytesMut::new();
            }
            self.unread.reserve(FIRST_READ);
        } else {
            self.unread.reserve(FURTHER_READ);
        }
        &mut self.unread
    }

    /// Appends bytes that are in memory already.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next complete line, if there is one.
    pub fn next_line(&mut self) -> Option<Line> {
        loop {
            let Some(end) = memchr::memchr(b'\n', &self.unread[self.scanned..]) else {
                self.scanned = self.unread.len();
                self.skip_overlong();
                return None;
            };
            let mut text = self.unread.split_to(self.scanned + end + 1);
            self.scanned = 0;
            text.truncate(text.len() - 1);
            if let Some(line) = self.complete(text) {
                return Some(line);
            }
        }
    }

    /// The last line, which has no end; the buffer is empty afterwards.
    pub fn finish(&mut self) -> Option<Line> {
        self.scanned = 0;
        let text = self.unread.split();
        self.complete(text)
    }

    fn complete(&mut self, mut text: BytesMut) -> Option<Line> {
        if let Some((head, mut tail)) = self.skipped.take() {
            keep_end(&mut tail, &text);
            return Some(Line::TooLong { head, tail: tail.freeze() });
        }
        if text.last() == Some(&b'\r') {
            text.truncate(text.len() - 1);
        }
        if text.len() > self.limit {
            let (head, tail) = ends(&text);
            return Some(Line::TooLong { head, tail: tail.freeze() });
        }
        if text.trim_ascii().is_empty() { None } else { Some(Line::Whole(text.freeze())) }
    }

    /// Drops what has been read of a line that is too long already. One byte is left for the `\r` of its end.
    fn skip_overlong(&mut self) {
        match &mut self.skipped {
            Some((_, tail)) => keep_end(tail, &self.unread),
            None if self.unread.len() > self.limit.saturating_add(1) => {
                self.skipped = Some(ends(&self.unread));
            }
            None => return,
        }
        // Not cleared: its memory, as large as the limit, is given back.
        if self.unread.capacity() > IDLE_BUFFER {
            self.unread = BytesMut::new();
        }
        self.unread.clear();
        self.scanned = 0;
    }
}

/// Both ends of a line, copied, so that they do not hold on to the rest.
fn ends(text: &[u8]) -> (Bytes, BytesMut) {
    let (head, rest) = text.split_at(text.len().min(KEPT_OF_OVERLONG));
    let mut tail = BytesMut::new();
    keep_end(&mut tail, rest);
    (Bytes::copy_from_slice(head), tail)
}

/// Appends `text` to `tail` and keeps the end of both.
fn keep_end(tail: &mut BytesMut, text: &[u8]) {
    let text = &text[text.len().saturating_sub(KEPT_OF_OVERLONG)..];
    let excess = (tail.len() + text.len()).saturating_sub(KEPT_OF_OVERLONG);
    let mut kept = BytesMut::with_capacity(KEPT_OF_OVERLONG);
    kept.extend_from_slice(&tail[excess.min(tail.len())..]);
    kept.extend_from_slice(text);
    *tail = kept;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(limit: usize, chunks: &[&[u8]]) -> Vec<Line> {
        let mut buffer = LineBuffer::new(limit);
        let mut found = Vec::new();
        for chunk in chunks {
            buffer.space().extend_from_slice(chunk);
            found.extend(std::iter::from_fn(|| buffer.next_line()));
        }
        found.extend(buffer.finish());
        found
    }

    fn whole(text: &str) -> Line {
        Line::Whole(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn too_long(head: &str, tail: &str) -> Line {
        Line::TooLong { head: head.to_owned().into(), tail: tail.to_owned().into() }
    }

    #[test]
    fn lines_end_with_a_line_feed_or_both_and_the_last_one_with_the_stream() {
        let found = lines(10, &[b"a\nb\r\n\n \t\r\nc\rd", b"", b"\ne", b"f"]);
        assert_eq!(found, [whole("a"), whole("b"), whole("c\rd"), whole("ef")]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole_whatever_its_end() {
        assert_eq!(lines(3, &[b"abc\nabc\r\nabc", b"\r", b"\n"]), [whole("abc"), whole("abc"), whole("abc")]);
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_and_the_next_one_is_read() {
        assert_eq!(
            lines(3, &[b"abcd\nx\nab", b"cde", b"f\ny"]),
            [too_long("abcd", ""), whole("x"), too_long("abcde", "f"), whole("y")]
        );
    }

    #[test]
    fn only_the_ends_of_a_line_over_the_limit_are_held() {
        let mut buffer = LineBuffer::new(1 << 20);
        buffer.push(b"head");
        for _ in 0..1000 {
            buffer.space().extend_from_slice(&[b'x'; 64 << 10]);
            assert_eq!(buffer.next_line(), None);
            assert!(buffer.unread.capacity() <= 4 << 20);
        }
        buffer.push(b"tail\n");
        let x = "x".repeat(508);
        assert_eq!(buffer.next_line(), Some(too_long(&format!("head{x}"), &format!("{x}tail"))));
        assert!(buffer.unread.is_empty());
        assert!(buffer.space().capacity() <= IDLE_BUFFER);
    }

    proptest! {
        #[test]
        fn how_a_stream_is_cut_into_reads_makes_no_difference(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            limit in 0usize..20,
            size in 1usize..20,
        ) {
            let count = |found: Vec<Line>| found.into_iter().map(|line| match line {
                Line::Whole(text) => Some(text),
                Line::TooLong { .. } => None,
            }).collect::<Vec<_>>();
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(count(lines(limit, &chunks)), count(lines(limit, &[&bytes])));
        }
    }
}
