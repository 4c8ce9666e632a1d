//! Looking at files that may lie on a disk that never answers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use connectors_core::import::FileProblem;
use tokio::sync::Semaphore;

/// How long a place is waited for: it may be on a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most jobs at once, those included that nobody waits for any more. The system has some hundred threads for blocking work, for
/// the whole process.
const AT_ONCE: usize = 64;

/// Blocking jobs, each with a limit of its own. One job at a time looks at a place, and so many at all places together: what hangs
/// keeps its own thread, however often it is looked at, and no other place waiting.
#[derive(Debug, Clone)]
pub(super) struct Jobs {
    patience: Duration,
    all: Arc<Semaphore>,
    /// The places that somebody looks at, or waits for.
    places: Arc<Mutex<HashMap<PathBuf, Weak<Semaphore>>>>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self::with_patience(PATIENCE)
    }
}

impl Jobs {
    /// Each place is waited for as long as this.
    pub(super) fn with_patience(patience: Duration) -> Self {
        Self { patience, all: Arc::new(Semaphore::new(AT_ONCE)), places: Arc::default() }
    }

    /// What `work` gives, on a thread of its own; `None` if it takes too long or fails. It is not ended then, only left alone, and
    /// until it has ended nobody else looks at `place`.
    ///
    /// *Cancellation.* The same.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        place: &Path,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (own, all) = (self.place(place), Arc::clone(&self.all));
        let done = async move {
            // The permits are the job's, not its caller's, who may have gone.
            let permits = (own.acquire_owned().await, all.acquire_owned().await);
            let job = move || {
                let _permits = permits;
                work()
            };
            tokio::task::spawn_blocking(job).await.ok()
        };
        tokio::time::timeout(self.patience, done).await.ok()?
    }

    /// What is wrong with a place that was waited for in vain.
    pub(super) fn problem(&self, what: &str) -> FileProblem {
        let problem = format!("{what} could not be read within {} s", self.patience.as_secs());
        FileProblem { problem, position: None }
    }

    fn place(&self, place: &Path) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = places.get(place).and_then(Weak::upgrade) {
            return known;
        }
        places.retain(|_, known| known.strong_count() > 0);
        let new = Arc::new(Semaphore::new(1));
        places.insert(place.to_owned(), Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A job that ends when it is let go, after it has told that it has begun.
    fn stuck() -> (impl FnOnce() + Send + 'static, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((begun, has_begun), (let_go, held)) = (mpsc::channel(), mpsc::channel());
        let work = move || {
            begun.send(()).unwrap();
            _ = held.recv();
        };
        (work, has_begun, let_go)
    }

    #[tokio::test]
    async fn a_place_that_hangs_is_looked_at_by_one_job_and_keeps_no_other_place_waiting() {
        let jobs = Jobs::with_patience(Duration::from_millis(200));
        let (work, has_begun, let_go) = stuck();
        assert_eq!(jobs.run(Path::new("/stuck"), work).await, None);
        has_begun.recv().unwrap();
        for _ in 0..3 {
            let (work, has_begun, _let_go) = stuck();
            assert_eq!(jobs.run(Path::new("/stuck"), work).await, None);
            assert_eq!(has_begun.try_recv(), Err(mpsc::TryRecvError::Disconnected), "it never begins");
        }
        // As long as it takes on a busy machine, and less than what hangs.
        let patient = Jobs { patience: Duration::from_secs(60), ..jobs.clone() };
        assert_eq!(patient.run(Path::new("/other"), || 1).await, Some(1));
        drop(let_go);
        while jobs.run(Path::new("/stuck"), || 2).await.is_none() {}
        // What nobody looks at is forgotten, as soon as the thread that did has let go of it.
        while jobs.places.lock().unwrap().len() > 1 {
            jobs.run(Path::new("/last"), || 3).await;
        }
    }

    #[tokio::test]
    async fn all_that_hangs_together_is_bounded() {
        let jobs =
            Jobs { all: Arc::new(Semaphore::new(2)), ..Jobs::with_patience(Duration::from_millis(200)) };
        let mut let_go = Vec::new();
        for place in ["/a", "/b"] {
            let (work, has_begun, held) = stuck();
            assert_eq!(jobs.run(Path::new(place), work).await, None);
            has_begun.recv().unwrap();
            let_go.push(held);
        }
        assert_eq!(jobs.run(Path::new("/c"), || 1).await, None);
        let_go.clear();
        while jobs.run(Path::new("/c"), || 1).await.is_none() {}
    }

    #[tokio::test]
    async fn a_job_that_fails_is_over() {
        let jobs = Jobs::with_patience(Duration::from_secs(30));
        assert_eq!(jobs.run(Path::new("/a"), || assert!(Path::new("/a").is_relative())).await, None);
        assert_eq!(jobs.run(Path::new("/a"), || 1).await, Some(1));
    }
}
