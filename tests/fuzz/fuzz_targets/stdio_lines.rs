//! However the output of a process is cut into reads, its lines are the same; what cannot be read may still be seen to
//! answer a request, but never another one than it does.
#![no_main]

use connectors_core::multiplex::response_id;
use connectors_core::protocol::{Incoming, read_messages};
use connectors_stdio::lines::{Line, LineBuffer};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    limit: u16,
    /// Lengths of the reads; the last one takes what is left.
    reads: Vec<u8>,
    stream: &'a [u8],
}

fn read<'a>(limit: usize, reads: impl Iterator<Item = &'a [u8]>) -> Vec<Line> {
    let mut buffer = LineBuffer::new(limit);
    let mut lines = Vec::new();
    for piece in reads {
        buffer.space().extend_from_slice(piece);
        lines.extend(std::iter::from_fn(|| buffer.next_line()));
    }
    lines.extend(buffer.finish());
    lines
}

/// Compares with the lines by the book. Of a line over the limit the ends may hold the `\r` that ends it.
fn check(input: &Input<'_>, lines: &[Line]) {
    let limit = usize::from(input.limit);
    let mut lines = lines.iter();
    for with_end in input.stream.split(|byte| *byte == b'\n') {
        let text = with_end.strip_suffix(b"\r").unwrap_or(with_end);
        if text.len() > limit {
            let Some(Line::TooLong { head, tail }) = lines.next() else { panic!("a long line is missing") };
            assert!(head.len() <= 512 && tail.len() <= 512 && head.len() + tail.len() <= with_end.len());
            assert!(with_end.starts_with(head), "the head is not the line's");
            assert!(with_end.ends_with(tail) || text.ends_with(tail), "the tail is not the line's");
            response_id(head, tail);
        } else if !text.trim_ascii().is_empty() {
            assert_eq!(lines.next(), Some(&Line::Whole(text.to_vec().into())));
        }
    }
    assert_eq!(lines.next(), None, "a line too many");
}

fuzz_target!(|input: Input<'_>| {
    let mut rest = input.stream;
    let mut reads: Vec<&[u8]> = Vec::new();
    for length in &input.reads {
        let (piece, left) = rest.split_at(rest.len().min(usize::from(*length)));
        reads.push(piece);
        rest = left;
    }
    reads.push(rest);
    let limit = input.limit.into();
    let lines = read(limit, reads.into_iter());
    check(&input, &lines);
    check(&input, &read(limit, std::iter::once(input.stream)));
    check(&input, &read(limit, input.stream.chunks(1)));
    for line in lines {
        let Line::Whole(text) = line else { continue };
        let seen = response_id(&text, &[]);
        if let (Some(seen), Ok(messages)) = (seen, read_messages(&text))
            && let [Incoming::Response { id, .. }] = &messages[..]
        {
            assert_eq!(Some(&seen), id.as_ref(), "the line answers another request");
        }
    }
});
