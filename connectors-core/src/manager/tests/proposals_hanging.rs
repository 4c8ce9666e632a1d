use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::BoxStream;

use super::environment::{Fault, Faulty};
use super::proposing::{accept, field, one, proposing, waiting};
use super::*;
use crate::contract::proposals::{FILE, ScriptedProposals};
use crate::definition::ConnectorDefinition;
use crate::error::StorageError;
use crate::proposal::{Mistake, Proposal, ProposalSource, Proposals};

/// Proposals that can be had at once, or never.
struct Hanging {
    proposals: Arc<ScriptedProposals>,
    hangs: AtomicBool,
}

impl Hanging {
    async fn wait(&self) {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait::async_trait]
impl ProposalSource for Hanging {
    async fn read(&self) -> Proposals {
        self.wait().await;
        self.proposals.read().await
    }

    fn changes(&self) -> Option<BoxStream<'static, ()>> {
        self.proposals.changes()
    }

    async fn rejected(&self) -> Result<HashSet<String>, StorageError> {
        self.proposals.rejected().await
    }

    async fn remember(&self, proposal: &Proposal, rejected: bool) -> Result<(), StorageError> {
        self.wait().await;
        self.proposals.remember(proposal, rejected).await
    }
}

/// A manager, and what it reads proposals from, which hangs from when this is told to.
async fn hanging(host: &Host, source: &Arc<ScriptedProposals>) -> (ConnectorManager, Arc<Hanging>) {
    let hanging = Arc::new(Hanging { proposals: Arc::clone(source), hangs: false.into() });
    (host.builder().with_proposals(Arc::<Hanging>::clone(&hanging)).start().await, hanging)
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_read_to_its_end_keeps_nobody_waiting() {
    let (host, first, _, source) = proposing();
    let (manager, hanging) = hanging(&host, &source).await;
    assert_eq!(waiting(&manager), ["one"]);
    hanging.hangs.store(true, Ordering::Relaxed);
    source.announce();
    settle().await;
    let begun = tokio::time::Instant::now();
    manager.add(NewConnector::http("Two", "http://other", vec![])).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(field(accept(&manager).await), "slug");
    let unread = Mistake {
        file: FILE.to_owned(),
        line: None,
        column: None,
        problem: "what is proposed could not be read within 5 s; nothing that is new in it is known"
            .to_owned(),
    };
    assert_eq!((manager.proposal_problems(), waiting(&manager)), (vec![unread], strings(&["one"])));
    assert_eq!(first.server.dials(), 0);
    hanging.hangs.store(false, Ordering::Relaxed);
    assert!(accept(&manager).await.unwrap().connected);
    assert_eq!(manager.proposal_problems(), []);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_ever_for_a_change_that_hangs() {
    let (host, _, _, source) = proposing();
    let (manager, hanging) = hanging(&host, &source).await;
    hanging.hangs.store(true, Ordering::Relaxed);
    let rejecting = tokio::spawn({
        let manager = manager.clone();
        async move { manager.reject(&one()).await }
    });
    settle().await;
    let begun = tokio::time::Instant::now();
    tokio::time::timeout(Duration::from_secs(60), manager.shutdown()).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    assert!(!rejecting.is_finished());
    rejecting.abort();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_one_acceptance_waiting_keeps_no_other() {
    let (host, _, _, source) = proposing();
    let wanted = |slug: &str, url: &str| {
        let mut definition = ConnectorDefinition::http(Slug::verbatim(slug), slug, url);
        definition.secret_headers = strings(&["X-Key"]);
        definition
    };
    source.write([wanted("one", "http://one"), wanted("two", "http://other")]);
    let credentials = Arc::new(Faulty::default());
    credentials.set(Fault::SilentForOne);
    let manager = host.builder().with_credentials(credentials).with_proposals(source).start().await;
    assert_eq!(waiting(&manager), ["one", "two"]);
    let accepting = tokio::spawn({
        let manager = manager.clone();
        async move { accept(&manager).await }
    });
    settle().await;
    let two = Slug::verbatim("two");
    let hash = manager.status(&two).unwrap().proposal.unwrap().hash;
    tokio::time::timeout(Duration::from_secs(60), manager.accept(&two, Some(&hash))).await.unwrap().unwrap();
    assert_eq!(waiting(&manager), ["one"]);
    accepting.abort();
}
