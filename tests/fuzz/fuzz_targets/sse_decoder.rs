//! However a stream is cut into chunks, its events, its last event id and its retry time are the same.
#![no_main]

use std::time::Duration;

use bytes::Bytes;
use connectors_http::sse::{Decoder, Event, EventTooLarge};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    limit: u16,
    skips: bool,
    /// Lengths of the chunks; the last one takes what is left.
    chunks: Vec<u8>,
    stream: &'a [u8],
}

type Found = (Vec<Result<Event, EventTooLarge>>, Option<String>, Option<Duration>);

fn decode<'a>(input: &Input<'_>, chunks: impl Iterator<Item = &'a [u8]>) -> Found {
    let decoder = Decoder::new(input.limit.into());
    let mut decoder = if input.skips { decoder.skipping() } else { decoder };
    let mut found = Vec::new();
    'stream: for chunk in chunks {
        decoder.feed(Bytes::copy_from_slice(chunk));
        while let Some(event) = decoder.next_event().transpose() {
            let is_over = event.is_err();
            if let Ok(event) = &event {
                assert!(event.data.len() <= input.limit.into(), "an event over the limit is delivered");
            }
            found.push(event);
            if is_over && !input.skips {
                break 'stream;
            }
        }
    }
    let (id, retry) = (decoder.last_event_id().map(ToOwned::to_owned), decoder.retry());
    (found, id, retry)
}

fuzz_target!(|input: Input<'_>| {
    let whole = decode(&input, std::iter::once(input.stream));
    assert_eq!(decode(&input, input.stream.chunks(1)), whole, "byte by byte");
    let mut rest = input.stream;
    let mut chunks: Vec<&[u8]> = Vec::new();
    for length in &input.chunks {
        let (chunk, left) = rest.split_at(rest.len().min(usize::from(*length)));
        chunks.push(chunk);
        rest = left;
    }
    chunks.push(rest);
    assert_eq!(decode(&input, chunks.into_iter()), whole, "in chunks");
});
