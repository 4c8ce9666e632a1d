//! Running one thing many times at once, in tasks and on threads.

use std::future::Future;

/// How many writers the suites set on one store.
pub(super) const TASKS: usize = 8;

/// Runs `work` in `count` tasks at once; the results are in their order.
pub(super) async fn in_tasks<T, F, Fut>(count: usize, work: F) -> Vec<T>
where
    T: Send + 'static,
    F: Fn(usize) -> Fut,
    Fut: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|n| tokio::spawn(work(n))).collect();
    let mut results = Vec::with_capacity(count);
    for task in tasks {
        results.push(task.await.expect("a writer has panicked"));
    }
    results
}

/// Runs `work` on `count` threads at once, each with a runtime of its own; the results are in their order.
pub(super) async fn on_threads<T, F, Fut>(count: usize, work: F) -> Vec<T>
where
    T: Send + 'static,
    F: Fn(usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = T>,
{
    let threads: Vec<_> = (0..count)
        .map(|n| {
            let work = work.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("no runtime on this thread").block_on(work(n))
            })
        })
        .collect();
    // Joined off the async threads: the store may need this runtime to answer.
    let join = tokio::task::spawn_blocking(|| {
        threads.into_iter().map(|thread| thread.join().expect("a writer has panicked")).collect()
    });
    join.await.expect("the writers were not joined")
}
