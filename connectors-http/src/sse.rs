//! Decoding `text/event-stream` (WHATWG HTML, "Server-sent events", event stream interpretation).

use std::time::Duration;

use bytes::{Buf, Bytes};
use memchr::memchr2;

use self::cut::Cut;

mod cut;

/// One event that carries data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; `None` for `message`, which it is too where it was absent or empty.
    pub name: Option<String>,
    /// The `data` lines, joined by line feeds. Not checked to be UTF-8.
    pub data: Vec<u8>,
}

impl Event {
    /// True if this is an event of the default type, the one that carries JSON-RPC messages.
    pub fn is_message(&self) -> bool {
        self.name.as_deref().is_none_or(|name| name == MESSAGE)
    }
}

/// An event is larger than the decoder's limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is over the limit of {limit} bytes")]
pub struct EventTooLarge {
    /// The limit, in bytes.
    pub limit: usize,
    /// The first bytes of its data, at most 512; empty unless the decoder [skips](Decoder::skipping) such events.
    pub head: Vec<u8>,
    /// The last bytes of its data, at most 512, not overlapping `head`.
    pub tail: Vec<u8>,
}

/// An incremental decoder: chunks go in, events come out the moment that their blank line is there.
///
/// Lines may end in LF, CR or CRLF, and chunks may be cut anywhere. Events without data (comments, a lone `id` or `retry`)
/// are not delivered, but [`last_event_id`](Self::last_event_id) and [`retry`](Self::retry) follow them. An event that the
/// end of the stream cuts off is dropped with the decoder.
///
/// ```
/// # use connectors_http::sse::Decoder;
/// let mut decoder = Decoder::new(1 << 20);
/// decoder.feed("id: 7\ndata: {\"a\":".into());
/// assert_eq!(decoder.next_event(), Ok(None));
/// decoder.feed("1}\n\n".into());
/// let event = decoder.next_event()?.expect("its blank line has arrived");
/// assert_eq!((event.is_message(), &event.data[..]), (true, &b"{\"a\":1}"[..]));
/// assert_eq!(decoder.last_event_id(), Some("7"));
/// # Ok::<_, connectors_http::sse::EventTooLarge>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    /// Whether the stream goes on after an event over the limit.
    skips: bool,
    chunk: Bytes,
    line: Line,
    /// The start of a line whose field is not known yet, or a whole line of a short field.
    head: Vec<u8>,
    /// A CR has ended the last line: an LF that follows belongs to it.
    after_cr: bool,
    /// No line has ended yet, so a byte-order mark may lead.
    at_start: bool,
    name: Option<String>,
    data: Vec<u8>,
    has_data: bool,
    /// What is left of the event being read if it is over the limit.
    cut: Option<Cut>,
    /// The `id` of the event being read; it counts once the event ends.
    pending_id: Option<String>,
    last_event_id: Option<String>,
    retry: Option<Duration>,
}

/// What the line being read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Too short to tell.
    Unknown,
    /// The value of a `data` field: it goes straight to the event.
    Data,
    /// Another field: it is gathered whole.
    Field,
    /// A comment: it goes nowhere.
    Comment,
}

/// An event id beyond this length is not kept: it would not fit a request header.
const MAX_ID: usize = 4096;

/// What a line may leave allocated for the next.
const KEPT: usize = 4096;

const MESSAGE: &str = "message";
const BOM: &[u8] = b"\xef\xbb\xbf";
const DATA: &[u8] = b"data:";

impl Decoder {
    /// A decoder at the start of a stream. `limit` bounds the bytes held for one event.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            skips: false,
            chunk: Bytes::new(),
            line: Line::Unknown,
            head: Vec::new(),
            after_cr: false,
            at_start: true,
            name: None,
            data: Vec::new(),
            has_data: false,
            cut: None,
            pending_id: None,
            last_event_id: None,
            retry: None,
        }
    }

    /// Goes on after an event over the limit: such an event is reported once it has ended, with the ends of its data, and
    /// the next one is read as ever. For streams on which one event is not everybody's business.
    #[must_use]
    pub fn skipping(mut self) -> Self {
        self.skips = true;
        self
    }

    /// Starts over on a new stream that continues the old one: the last event id and the retry time stay.
    pub fn restart(&mut self) {
        let fresh = Self { skips: self.skips, ..Self::new(self.limit) };
        let old = std::mem::replace(self, fresh);
        self.pending_id = old.last_event_id.clone();
        self.last_event_id = old.last_event_id;
        self.retry = old.retry;
    }

    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.chunk = [&self.chunk[..], &chunk].concat().into();
        }
    }

    /// The next event that is complete, or `None` until more bytes are fed.
    ///
    /// # Errors
    ///
    /// [`EventTooLarge`], after which the stream is of no further use unless the decoder [skips](Self::skipping).
    pub fn next_event(&mut self) -> Result<Option<Event>, EventTooLarge> {
        let mut chunk = std::mem::take(&mut self.chunk);
        while let Some(first) = chunk.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                chunk.advance(1);
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', &chunk) else {
                self.extend_line(&chunk)?;
                break;
            };
            let line = &chunk[..end];
            let event = if self.is_at_line_start() && self.data.len() + line.len() <= self.limit {
                // The common case: nothing of the line has to be gathered.
                self.take_line(line)
            } else {
                self.extend_line(line)?;
                self.end_line()
            };
            self.after_cr = chunk[end] == b'\r';
            chunk.advance(end + 1);
            if let Some(event) = event {
                self.chunk = chunk;
                return event.map(Some);
            }
        }
        Ok(None)
    }

    /// The id to resume after: the last one that an ended event set, unless it was reset to nothing.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref().filter(|id| !id.is_empty())
    }

    /// How long the server wants a client to wait before it reconnects, if it has said so.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn is_at_line_start(&self) -> bool {
        self.line == Line::Unknown && self.head.is_empty()
    }

    /// Adds bytes that hold no line end to the line being read.
    fn extend_line(&mut self, mut piece: &[u8]) -> Result<(), EventTooLarge> {
        if self.line == Line::Unknown {
            // Enough to tell the field, byte-order mark and leading space included.
            let wanted = (BOM.len() + DATA.len() + 1).saturating_sub(self.head.len());
            let (start, rest) = piece.split_at(wanted.min(piece.len()));
            self.head.extend_from_slice(start);
            piece = rest;
            self.line = self.classify();
            if self.line == Line::Data {
                self.begin_data_line();
            }
        }
        match self.line {
            Line::Data => self.extend_data(piece),
            Line::Unknown | Line::Field => self.head.extend_from_slice(piece),
            Line::Comment => self.head.clear(),
        }
        // The start of a line counts once it is known what it belongs to, so that the chunking makes no difference.
        let of_field = if self.line == Line::Field { self.head.len() } else { 0 };
        if self.data.len() + of_field <= self.limit {
            return Ok(());
        }
        if !self.skips {
            return Err(EventTooLarge { limit: self.limit, head: Vec::new(), tail: Vec::new() });
        }
        let data = std::mem::take(&mut self.data);
        self.cut.get_or_insert_with(|| Cut::of(&data));
        if self.line == Line::Field {
            self.line = Line::Comment;
            self.head = Vec::new();
        }
        Ok(())
    }

    fn extend_data(&mut self, piece: &[u8]) {
        match &mut self.cut {
            Some(cut) => cut.push(piece),
            None => self.data.extend_from_slice(piece),
        }
    }

    /// Begins the value of a `data` field, on a line of its own.
    fn begin_value(&mut self) {
        if std::mem::replace(&mut self.has_data, true) {
            self.extend_data(b"\n");
        }
    }

    /// What the line is, as far as `head` tells. A line is `Unknown` until more than a colon could follow.
    fn classify(&self) -> Line {
        let head = self.start_of_line();
        match head {
            [] => Line::Unknown,
            [b':', ..] => Line::Comment,
            head if head.len() > DATA.len() && head.starts_with(DATA) => Line::Data,
            head if DATA.starts_with(head) || (self.at_start && BOM.starts_with(head)) => Line::Unknown,
            _ => Line::Field,
        }
    }

    /// The gathered bytes of the line, without a byte-order mark at the start of the stream.
    fn start_of_line(&self) -> &[u8] {
        let stripped = if self.at_start { self.head.strip_prefix(BOM) } else { None };
        stripped.unwrap_or(&self.head)
    }

    /// Moves what `head` holds of a data line's value to the event.
    fn begin_data_line(&mut self) {
        self.begin_value();
        let head = std::mem::take(&mut self.head);
        let stripped = if self.at_start { head.strip_prefix(BOM) } else { None };
        let value = &stripped.unwrap_or(&head)[DATA.len()..];
        self.extend_data(value.strip_prefix(b" ").unwrap_or(value));
        // Keep the allocation for the next line.
        self.head = head;
        self.head.clear();
    }

    fn end_line(&mut self) -> Option<Result<Event, EventTooLarge>> {
        let line = std::mem::replace(&mut self.line, Line::Unknown);
        let mut event = None;
        if matches!(line, Line::Unknown | Line::Field) {
            let head = std::mem::take(&mut self.head);
            event = self.take_line(&head);
            self.head = head;
        }
        self.head.clear();
        self.head.shrink_to(KEPT);
        self.at_start = false;
        event
    }

    /// Reads a whole line, without its end.
    fn take_line(&mut self, line: &[u8]) -> Option<Result<Event, EventTooLarge>> {
        let stripped = if std::mem::take(&mut self.at_start) { line.strip_prefix(BOM) } else { None };
        match stripped.unwrap_or(line) {
            [] => return self.dispatch(),
            field => self.take_field(field),
        }
        None
    }

    fn take_field(&mut self, line: &[u8]) {
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                self.begin_value();
                self.extend_data(value);
            }
            b"event" if value == MESSAGE.as_bytes() => self.name = None,
            b"event" => self.name = Some(String::from_utf8_lossy(value).into_owned()),
            b"id" if !value.contains(&0) && value.len() <= MAX_ID => {
                self.pending_id = Some(String::from_utf8_lossy(value).into_owned());
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                self.retry = Some(Duration::from_millis(millis.unwrap_or(u64::MAX)));
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Result<Event, EventTooLarge>> {
        // An event without an `id` leaves the last one standing.
        if self.pending_id != self.last_event_id {
            self.last_event_id.clone_from(&self.pending_id);
        }
        let name = self.name.take().filter(|name| !name.is_empty());
        self.has_data = false;
        let data = std::mem::take(&mut self.data);
        if let Some(cut) = self.cut.take() {
            let (head, tail) = cut.into_ends();
            return Some(Err(EventTooLarge { limit: self.limit, head, tail }));
        }
        (!data.is_empty()).then_some(Ok(Event { name, data }))
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
