use proptest::prelude::*;

use super::*;

/// Everything that a stream amounts to, fed in pieces cut at `cuts`.
fn decode(stream: &[u8], cuts: &[usize]) -> (Vec<Event>, Option<String>, Option<Duration>) {
    let mut decoder = Decoder::new(1 << 20);
    let mut events = Vec::new();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.push(0);
    cuts.push(stream.len());
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        decoder.feed(Bytes::copy_from_slice(&stream[pair[0]..pair[1]]));
        while let Some(event) = decoder.next_event().unwrap() {
            events.push(event);
        }
    }
    (events, decoder.last_event_id().map(ToOwned::to_owned), decoder.retry())
}

fn events(stream: &str) -> Vec<Event> {
    decode(stream.as_bytes(), &[]).0
}

fn message(data: &str) -> Event {
    Event { name: None, data: data.into() }
}

fn too_large(limit: usize, head: &str, tail: &str) -> EventTooLarge {
    EventTooLarge { limit, head: head.into(), tail: tail.into() }
}

#[test]
fn every_line_ending_ends_a_line() {
    for ending in ["\n", "\r", "\r\n"] {
        let stream = ["event: ping", "data: 1", "", "data: 2", "data:3", "", ""].join(ending);
        let ping = Event { name: Some("ping".into()), data: b"1".to_vec() };
        assert_eq!(events(&stream), [ping, message("2\n3")], "{ending:?}");
    }
}

#[test]
fn an_event_is_there_as_soon_as_its_blank_line_is() {
    for stream in ["data: x\n\n", "data: x\r\r", "data: x\r\n\r"] {
        assert_eq!(events(stream), [message("x")], "{stream:?}");
    }
    assert_eq!(events("data: x\n"), []);
}

#[test]
fn the_line_feed_of_a_split_line_ending_starts_no_line() {
    assert_eq!(
        decode(b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", &[8, 17, 19]).0,
        [message("a\nb"), message("c")]
    );
}

#[test]
fn a_byte_order_mark_counts_only_at_the_start() {
    assert_eq!(events("\u{feff}data: a\n\n\u{feff}data: b\n\n"), [message("a")]);
    assert_eq!(events("\u{feff}\ndata: a\n\n"), [message("a")]);
    assert_eq!(events("\u{feff}\u{feff}data: a\n\n"), []);
}

#[test]
fn one_space_after_the_colon_is_no_part_of_the_value() {
    assert_eq!(
        events("data:a\n\ndata:  b\n\ndata\ndata:\ndata: \ndata:c\n\n"),
        [message("a"), message(" b"), message("\n\n\nc")]
    );
}

#[test]
fn comments_unknown_fields_and_events_without_data_deliver_nothing() {
    assert_eq!(events(": keep-alive\n\nevent: ping\n\ndatum: 1\ndataset: 2\n\n:data: x\n\ndata\n\n"), []);
    // The name of an event without data does not stick to the next, nor does that of the default type.
    assert_eq!(events("event: message\ndata: 1\n\ndata: 2\n\n"), [message("1"), message("2")]);
    assert_eq!(events("event: ping\n\ndata: 1\n\n"), [message("1")]);
}

#[test]
fn id_and_retry_are_followed_even_where_no_event_is_delivered() {
    let (events, id, retry) = decode(b"id: event-1\nretry: 500\ndata: \n\n", &[]);
    assert_eq!((events, id.as_deref(), retry), (vec![], Some("event-1"), Some(Duration::from_millis(500))));
}

#[test]
fn an_id_counts_once_its_event_ends_and_stays_until_another_comes() {
    assert_eq!(decode(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n", &[]).1.as_deref(), Some("1"));
    assert_eq!(decode(b"id: 1\n\nid:\n\n", &[]).1, None);
    assert_eq!(decode(b"id: 1\n\nid: a\0b\n\n", &[]).1.as_deref(), Some("1"));
}

#[test]
fn a_retry_that_is_no_number_is_ignored() {
    assert_eq!(decode(b"retry: 1s\nretry:\nretry: -1\n\n", &[]).2, None);
}

#[test]
fn a_restart_keeps_the_id_and_drops_the_half_event() {
    let mut decoder = Decoder::new(100);
    decoder.feed("id: 1\ndata: a\n\nid: 2\ndata: half".into());
    assert_eq!(decoder.next_event(), Ok(Some(message("a"))));
    assert_eq!(decoder.next_event(), Ok(None));
    decoder.restart();
    decoder.feed("data: b\n\n".into());
    assert_eq!(decoder.next_event(), Ok(Some(message("b"))));
    assert_eq!(decoder.last_event_id(), Some("1"));
}

#[test]
fn an_event_over_the_limit_is_refused_before_it_is_complete() {
    for stream in ["data: 12345678901", "data: 12345\ndata: 678901", "id: 12345678901", "x12345678901"] {
        let mut decoder = Decoder::new(10);
        decoder.feed(stream.into());
        assert_eq!(decoder.next_event(), Err(too_large(10, "", "")), "{stream}");
    }
    // Comments cost nothing, and what was delivered does not count.
    let mut decoder = Decoder::new(10);
    decoder.feed(": a comment beyond the limit\ndata: 1234567890\n\ndata: 1234567890\n\n".into());
    assert_eq!(decoder.next_event(), Ok(Some(message("1234567890"))));
    assert_eq!(decoder.next_event(), Ok(Some(message("1234567890"))));
}

#[test]
fn whether_an_event_is_over_the_limit_does_not_depend_on_the_chunking() {
    for stream in ["data: 12345678\ndata: z\n\n", "data: 12345678\ndata\n\n", "data: 12345678\nid\n\n"] {
        for cut in 0..stream.len() {
            let mut decoder = Decoder::new(10);
            decoder.feed(stream[..cut].into());
            assert_eq!(decoder.next_event(), Ok(None), "{stream:?} cut at {cut}");
            decoder.feed(stream[cut..].into());
            assert!(matches!(decoder.next_event(), Ok(Some(_))), "{stream:?} cut at {cut}");
        }
    }
}

#[test]
fn a_decoder_that_skips_reports_an_event_over_the_limit_once_and_goes_on() {
    let stream = format!(
        "data: 123456\ndata:7890\ndata\ndata: {}end\n\ndata: ok\n\nevent: {}\ndata: x\nid: 7\n\ndata: ok\n\n",
        "x".repeat(600),
        "y".repeat(600)
    );
    let head = format!("123456\n7890\n\n{}", "x".repeat(499));
    let tail = format!("{}end", "x".repeat(101));
    for size in [1, 2, 7, 100, stream.len()] {
        let mut decoder = Decoder::new(10).skipping();
        let mut found = Vec::new();
        for chunk in stream.as_bytes().chunks(size) {
            decoder.feed(Bytes::copy_from_slice(chunk));
            found.extend(std::iter::from_fn(|| decoder.next_event().transpose()));
            assert!(decoder.data.capacity() + decoder.head.capacity() <= 2000);
        }
        let expected = [
            Err(too_large(10, &head, &tail)),
            Ok(message("ok")),
            Err(too_large(10, "x", "")),
            Ok(message("ok")),
        ];
        assert_eq!(found, expected, "in chunks of {size}");
        assert_eq!(decoder.last_event_id(), Some("7"));
    }
}

/// A decoder that reads whole lines, as the specification describes it.
fn reference(stream: &str) -> Vec<Event> {
    let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream);
    let normal = stream.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = normal.split('\n').collect();
    lines.pop();
    let (mut events, mut name, mut data) = (Vec::new(), String::new(), Vec::new());
    for line in lines {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (line.is_empty(), field) {
            (true, _) => {
                let (name, data) = (std::mem::take(&mut name), std::mem::take(&mut data).join("\n"));
                if !data.is_empty() {
                    let name = (!name.is_empty()).then_some(name);
                    events.push(Event { name, data: data.into_bytes() });
                }
            }
            (_, "event") => value.clone_into(&mut name),
            (_, "data") => data.push(value),
            _ => {}
        }
    }
    events
}

fn stream() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just(String::new()),
        Just(String::new()),
        "data:? ?[a-z: é]{0,12}",
        "(event|id|retry|dat|datas|:|\u{feff}): ?[a-z0-9]{0,5}",
        "[\u{feff}a-e: ]{0,6}",
    ];
    let ended = (line, prop_oneof![Just("\n"), Just("\r"), Just("\r\n")]).prop_map(|(line, end)| line + end);
    ("\u{feff}?", proptest::collection::vec(ended, 0..12)).prop_map(|(bom, lines)| bom + &lines.concat())
}

proptest! {
    #[test]
    fn any_chunking_yields_what_the_specification_describes(
        stream in stream(),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        let whole = decode(stream.as_bytes(), &[]);
        prop_assert_eq!(&whole.0, &reference(&stream));
        prop_assert_eq!(&decode(stream.as_bytes(), &cuts), &whole);
        let bytewise: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(&decode(stream.as_bytes(), &bytewise), &whole);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic_or_hold_more_than_its_limit(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b':')], 0..300),
        limit in 0usize..40,
    ) {
        let mut decoder = Decoder::new(limit);
        for chunk in bytes.chunks(7) {
            decoder.feed(Bytes::copy_from_slice(chunk));
            while let Ok(Some(event)) = decoder.next_event() {
                prop_assert!(event.data.len() <= limit);
            }
            if !decoder.chunk.is_empty() {
                break;
            }
        }
    }
}
