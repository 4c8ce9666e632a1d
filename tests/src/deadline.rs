//! Waiting for something to become true, never for time to pass.

use std::future::Future;
use std::time::Duration;

/// What is given to anything that should happen promptly, on a machine that may be busy with other tests.
pub const SOON: Duration = Duration::from_secs(90);

/// Between two looks at something that nobody announces.
const POLL: Duration = Duration::from_millis(10);

/// The value of `future`; panics, naming `what`, if there is none [`SOON`].
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {SOON:?} in vain for {what}"),
    }
}

/// Looks again and again until `probe` has a value. For what no event announces, such as the death of a process.
pub async fn poll<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    soon(what, async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(POLL).await;
        }
    })
    .await
}
