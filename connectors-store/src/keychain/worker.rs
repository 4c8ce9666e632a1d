//! Threads of the store's own, few enough that a keychain that hangs costs nothing else.

use std::time::Duration;

use connectors_core::CredentialError;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use super::STORE;
use super::backend::Deadline;

/// Calls that may be in the keychain's hands at once.
const THREADS: usize = 4;

/// Runs calls that may block, each within a time limit.
#[derive(Debug)]
pub(super) struct Worker {
    /// The threads that calls block.
    calls: Background,
    /// Where timers run, and what of a backend is asynchronous: not on the threads of the calls, which wait for it.
    tasks: Background,
}

impl Worker {
    pub(super) fn start() -> Result<Self, CredentialError> {
        // Never driven: only its blocking threads are used.
        let calls = Background::start(&mut Builder::new_current_thread())?;
        let tasks = Background::start(Builder::new_multi_thread().worker_threads(1))?;
        Ok(Self { calls, tasks })
    }

    /// Where a backend runs what is asynchronous about it.
    #[cfg_attr(any(windows, target_os = "macos"), allow(dead_code, reason = "nothing is, there"))]
    pub(super) fn handle(&self) -> Handle {
        self.tasks.handle.clone()
    }

    /// Runs `job`, which is given the time by which it should be done, and waits for it no longer than that.
    ///
    /// A job whose caller has gone before a thread was free is not run.
    pub(super) async fn run<T, F>(&self, limit: Duration, job: F) -> Result<T, CredentialError>
    where
        T: Send + 'static,
        F: FnOnce(Deadline) -> Result<T, CredentialError> + Send + 'static,
    {
        let deadline = Deadline::after(limit);
        let (result, outcome) = oneshot::channel();
        self.calls.handle.spawn_blocking(move || {
            if !result.is_closed() {
                drop(result.send(job(deadline)));
            }
        });
        // The timer is the worker's: the caller's runtime may have none.
        let waiting = self.tasks.handle.spawn(tokio::time::timeout(limit, outcome));
        let _abort = AbortOnDrop(waiting.abort_handle());
        match waiting.await {
            Ok(Ok(Ok(result))) => result,
            Ok(Err(_)) => Err(deadline.missed()),
            Ok(Ok(Err(_))) | Err(_) => Err(CredentialError::Unavailable {
                store: STORE,
                reason: "its call was broken off".to_owned(),
            }),
        }
    }
}

/// Lets go of the outcome when the caller does.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A runtime that may be dropped anywhere.
#[derive(Debug)]
struct Background {
    handle: Handle,
    /// Taken when dropped.
    runtime: Option<Runtime>,
}

impl Background {
    fn start(builder: &mut Builder) -> Result<Self, CredentialError> {
        let runtime = builder
            .max_blocking_threads(THREADS)
            .thread_name("connectors-keychain")
            .enable_all()
            .build()
            .map_err(|error| CredentialError::Failed { store: STORE, source: Box::new(error) })?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits for nobody: a call may hang for good.
            runtime.shutdown_background();
        }
    }
}
