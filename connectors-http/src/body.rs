//! Reading and giving up the bodies of answers.

use std::time::Duration;

use bytes::Bytes;
use connectors_core::TransportError;
use futures_util::FutureExt;
use reqwest::Response;
use tokio_util::sync::CancellationToken;

use crate::error::{broken_off, shut};

/// Bytes at the end of an answer that are read for the sake of the connection.
const LEFTOVER: usize = 64 << 10;

/// How long a connection waits for the end of an answer that nobody needs any more.
const LEFTOVER_WAIT: Duration = Duration::from_secs(1);

/// The next bytes of a body, decompressed; `None` at its end.
pub(crate) async fn chunk(
    response: &mut Response,
    closed: &CancellationToken,
) -> Result<Option<Bytes>, TransportError> {
    let chunk = tokio::select! {
        biased;
        chunk = response.chunk() => chunk,
        () = closed.cancelled() => return Err(shut()),
    };
    chunk.map_err(|error| broken_off(&error, response.url()))
}

/// A whole body of at most `limit` bytes, counted after decompression.
pub(crate) async fn whole(
    response: &mut Response,
    limit: usize,
    closed: &CancellationToken,
) -> Result<Bytes, TransportError> {
    let too_large = || TransportError::LimitExceeded { limit: "the server's answer", max: size(limit) };
    // Known ahead only where nothing is decompressed.
    let announced = response.content_length().unwrap_or_default();
    if announced > limit as u64 {
        return Err(too_large());
    }
    let Some(first) = chunk(response, closed).await? else { return Ok(Bytes::new()) };
    let Some(second) = chunk(response, closed).await? else {
        // The common case: one chunk, which needs no copy.
        return if first.len() > limit { Err(too_large()) } else { Ok(first) };
    };
    // The announced length is within the limit, and the server has begun to send it.
    let announced = usize::try_from(announced).unwrap_or_default();
    let mut body = Vec::with_capacity(announced.max(first.len() + second.len()));
    body.extend_from_slice(&first);
    drop(first);
    let mut next = Some(second);
    while let Some(chunk_of_body) = next {
        if body.len() + chunk_of_body.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk_of_body);
        next = chunk(response, closed).await?;
    }
    Ok(body.into())
}

/// At most `limit` bytes of a body, in at most `wait`; what cannot be had in that time or room is left out.
pub(crate) async fn excerpt(mut response: Response, limit: usize, wait: Duration) -> Vec<u8> {
    let mut body = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = limit - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == limit {
                break;
            }
        }
    };
    // What has arrived by then is all that is used.
    let _ = tokio::time::timeout(wait, reading).await;
    body
}

/// Gives up an answer of which nothing more is needed, so that its connection can be used again: the caller never waits.
///
/// An HTTP/1 connection is free only once the answer has been read to its end, and an HTTP/2 server that sees many answers
/// reset may drop the client. The end has often arrived already, or follows at once; a stream that stays open is closed.
pub(crate) fn release(mut response: Response) {
    if leftover(&mut response).now_or_never().is_none() {
        wait_for_end(response);
    }
}

/// As [`release`], but gives the connection one turn first: an end that has arrived together with what was read shows only
/// after that, and needs no task of its own then.
pub(crate) async fn finish(response: &mut Option<Response>) {
    let Some(read) = response else { return };
    let ended = tokio::select! {
        biased;
        () = leftover(read) => true,
        () = tokio::task::yield_now() => false,
    };
    match response.take() {
        Some(response) if !ended => wait_for_end(response),
        _ => {}
    }
}

fn wait_for_end(mut response: Response) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            // A stream that is still open then is closed.
            let _ = tokio::time::timeout(LEFTOVER_WAIT, leftover(&mut response)).await;
        });
    }
}

/// Reads to the end of an answer, or until that is too far away.
async fn leftover(response: &mut Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > LEFTOVER {
            return;
        }
    }
}

/// A number of bytes for a message.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        n if n >= 1 << 20 && n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n >= 1 << 10 && n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: Vec<u8>) -> Response {
        http::Response::new(body).into()
    }

    async fn read(body: &[u8], limit: usize) -> Result<Bytes, String> {
        whole(&mut response(body.to_vec()), limit, &CancellationToken::new()).await.map_err(|e| e.to_string())
    }

    #[tokio::test]
    async fn a_body_up_to_the_limit_is_read_and_a_larger_one_is_refused() {
        assert_eq!(read(b"", 4).await, Ok(Bytes::new()));
        assert_eq!(read(b"1234", 4).await, Ok(Bytes::from_static(b"1234")));
        assert_eq!(read(b"12345", 4).await, Err("the server's answer is over the limit of 4 bytes".into()));
    }

    #[tokio::test]
    async fn an_excerpt_is_cut_at_its_limit() {
        assert_eq!(excerpt(response(b"12345".to_vec()), 3, Duration::from_secs(1)).await, b"123");
    }

    #[test]
    fn sizes_are_written_in_the_unit_they_were_given_in() {
        assert_eq!(
            [size(16 << 20), size(64 << 10), size(1500), size(0)],
            ["16 MiB", "64 KiB", "1500 bytes", "0 bytes"]
        );
    }
}
