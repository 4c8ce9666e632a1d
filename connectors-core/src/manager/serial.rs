//! One change of the settings at a time.

use std::future::Future;
use std::pin::Pin;

use tokio::sync::{mpsc, oneshot};

use crate::error::ConnectorError;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs jobs one after another in a task of its own, each to its end, whatever becomes of the caller.
///
/// Everything that writes the manifest goes through here, so that what is in memory is always what was written last, and
/// no lock is held while a file is.
#[derive(Debug, Clone)]
pub(super) struct Serial {
    jobs: mpsc::Sender<Job>,
}

impl Serial {
    pub(super) fn start() -> Self {
        let (jobs, mut queue) = mpsc::channel::<Job>(64);
        tokio::spawn(async move {
            while let Some(job) = queue.recv().await {
                job.await;
            }
        });
        Self { jobs }
    }

    /// Runs a job after those before it. Dropping the future abandons the answer, not the job.
    pub(super) async fn run<T, E>(
        &self,
        job: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, ConnectorError>
    where
        T: Send + 'static,
        E: Into<ConnectorError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::pin(async move {
            // The caller may have gone; the job counts all the same.
            let _ = reply.send(job.await);
        });
        self.jobs.send(job).await.map_err(|_| ConnectorError::ShuttingDown)?;
        answer.await.map_err(|_| ConnectorError::ShuttingDown)?.map_err(Into::into)
    }
}
