//! Fetching one metadata document from the first address that has it.

use bytes::Bytes;
use connectors_core::TransportError;
use connectors_core::http::HttpResponse;
use connectors_core::trace::{Step, StepOutcome, TraceStep};
use http::StatusCode;
use http::header::{CONTENT_TYPE, LOCATION};
use url::Url;

use super::{DiscoveryError, place};
use crate::exchange::Exchange;
use crate::metadata::BadMetadata;
use crate::quoted::quoted;

/// Which document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    /// Of the protected resource.
    Resource,
    /// Of the authorization server.
    Server,
}

impl Document {
    pub(crate) fn step(self) -> Step {
        match self {
            Self::Resource => Step::ResourceMetadata,
            Self::Server => Step::AuthorizationServer,
        }
    }

    /// As in "cannot read ... at".
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Resource => "the protected resource metadata",
            Self::Server => "the authorization server metadata",
        }
    }
}

/// Why an address did not give the document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// A plain "there is nothing here".
    #[error("there is none (status {0})")]
    Absent(StatusCode),
    #[error("credentials are demanded for it (status {0})")]
    Protected(StatusCode),
    #[error("a web page came instead")]
    WebPage,
    #[error("the answer has status {0}")]
    Status(StatusCode),
    #[error("the answer leads to another origin ({to})")]
    Redirected { to: String },
    #[error("{0}")]
    Forbidden(#[source] TransportError),
    #[error("{0}")]
    TooSlow(#[source] TransportError),
    #[error("{0}")]
    TooLarge(#[source] TransportError),
    #[error("{0}")]
    Unreachable(#[source] TransportError),
    #[error("{0}")]
    Bad(#[from] BadMetadata),
}

impl Problem {
    /// True where the next address of the same search may be tried: whoever answers so has no say in what comes next.
    fn moves_on(&self) -> bool {
        matches!(self, Self::Absent(_) | Self::Protected(_) | Self::WebPage)
    }
}

impl From<TransportError> for Problem {
    fn from(error: TransportError) -> Self {
        match error {
            error @ TransportError::Refused(_) => Self::Forbidden(error),
            error @ TransportError::TimedOut { .. } => Self::TooSlow(error),
            error @ TransportError::LimitExceeded { .. } => Self::TooLarge(error),
            error => Self::Unreachable(error),
        }
    }
}

/// Reads the document at the first of `addresses` that has it, and says at which.
///
/// `Ok(None)` only if every one of them says plainly that it has none; an address that hides behind credentials or shows a web
/// page for everything is passed over, but proves nothing.
pub(super) async fn find<T>(
    exchange: &Exchange,
    document: Document,
    addresses: &[Url],
    read: impl Fn(&[u8]) -> Result<T, BadMetadata>,
) -> Result<Option<(Url, T)>, DiscoveryError> {
    let failed = |url: &Url, problem| DiscoveryError::Document {
        document,
        url: place(url),
        problem: Box::new(problem),
    };
    let mut unclear = None;
    for url in addresses {
        let problem = match fetch(exchange, url).await {
            Ok(body) => match read(&body) {
                Ok(metadata) => return Ok(Some((url.clone(), metadata))),
                Err(bad) => bad.into(),
            },
            Err(problem) => problem,
        };
        if !problem.moves_on() {
            return Err(failed(url, problem));
        }
        note_passed_over(exchange, document, url, &problem);
        if !matches!(problem, Problem::Absent(_)) {
            unclear.get_or_insert_with(|| failed(url, problem));
        }
    }
    unclear.map_or(Ok(None), Err)
}

async fn fetch(exchange: &Exchange, url: &Url) -> Result<Bytes, Problem> {
    let response = exchange.get(url).await?;
    let status = response.status();
    Err(match status.as_u16() {
        200 if is_web_page(&response) => Problem::WebPage,
        200 => return Ok(response.into_body()),
        300..=399 => Problem::Redirected { to: target(url, &response) },
        401 | 403 => Problem::Protected(status),
        407 | 408 | 425 | 429 => Problem::Status(status),
        400..=499 => Problem::Absent(status),
        _ => Problem::Status(status),
    })
}

fn is_web_page(response: &HttpResponse) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/html") || essence.eq_ignore_ascii_case("application/xhtml+xml")
    })
}

/// Where a redirect leads: its origin only, for the rest may hold a key.
fn target(url: &Url, response: &HttpResponse) -> String {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    match location.and_then(|location| url.join(location).ok()) {
        Some(target) if target.host_str().is_some() => quoted(&target.origin().ascii_serialization()),
        _ => "nowhere".to_owned(),
    }
}

fn note_passed_over(exchange: &Exchange, document: Document, url: &Url, problem: &Problem) {
    let code = match (document, problem) {
        (Document::Resource, Problem::Absent(_)) => "resource_metadata_absent",
        (Document::Resource, _) => "resource_metadata_passed_over",
        (Document::Server, Problem::Absent(_)) => "server_metadata_absent",
        (Document::Server, _) => "server_metadata_passed_over",
    };
    exchange.note(
        TraceStep::new(document.step(), StepOutcome::Skipped, code)
            .expecting(document.name())
            .seeing(format!("{}: {problem}", place(url))),
    );
}
