//! The same with `kill -9`.

use std::fmt;
use std::time::Duration;

use connectors_tests::mcp_server::Gate;
use connectors_tests::oauth::{Endpoint, Fault, Reply};

use super::household::{Household, MEMBERS};
use super::{CALLS, how_many};

/// About as long as the calls of one round take, most of it with ten processes at a refresh.
const ROUND_MS: u64 = 150;

/// Which processes are killed, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// All, when a refresh has been asked for and not been answered.
    BeforeTheAnswer,
    /// All, when the server has refreshed and its answer is on the way: the one loss that nothing can prevent.
    DuringTheAnswer,
    /// All, at any time after the token has expired.
    AllAtAnyTime,
    /// One, at any time after the token has expired, while the others go on.
    OneAtAnyTime,
}

const KINDS: [Kill; 4] =
    [Kill::BeforeTheAnswer, Kill::OneAtAnyTime, Kill::DuringTheAnswer, Kill::AllAtAnyTime];

/// What came of the kills of one kind.
#[derive(Debug, Default, Clone, Copy)]
struct Toll {
    kills: usize,
    /// Of them, between the server's answer and the write.
    in_window: usize,
    lost: usize,
}

impl fmt::Display for Toll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, in_window, lost } = self;
        write!(f, "{kills} kills, {in_window} of them between the answer and the write, {lost} grants lost")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_the_grant_only_between_the_servers_answer_and_the_write() {
    let kills = how_many("CONNECTORS_KILLS", 12);
    let mut household = Household::found().await;
    let mut tolls = [Toll::default(); KINDS.len()];
    for round in 0..kills {
        let kind = KINDS[round % KINDS.len()];
        household.move_in().await;
        let (in_window, lost) = match kind {
            Kill::OneAtAnyTime => kill_one(&mut household).await,
            kind => kill_all(&mut household, kind).await,
        };
        let toll = &mut tolls[round % KINDS.len()];
        toll.kills += 1;
        toll.in_window += usize::from(in_window);
        toll.lost += usize::from(lost);
        assert_eq!(lost, in_window, "round {round}, {kind:?}");
        match kind {
            Kill::BeforeTheAnswer => assert!(!lost, "round {round}"),
            Kill::DuringTheAnswer => assert!(lost, "round {round}"),
            _ => {}
        }
        if lost {
            household.kill_all().await;
            household.sign_in().await;
        }
    }
    for (kind, toll) in KINDS.iter().zip(tolls) {
        println!("{kind:?}: {toll}");
    }
    let lost: usize = tolls.iter().map(|toll| toll.lost).sum();
    assert_eq!(household.rig.server.families_revoked(), lost);
}

/// Whether the kill came between the answer and the write, and whether the grant is lost.
async fn kill_all(household: &mut Household, kind: Kill) -> (bool, bool) {
    let refreshes = household.rig.server.refreshes();
    let asked = household.rig.server.record().look(|log| log.to(Endpoint::Token).count());
    let gate = Gate::default();
    let reply = match kind {
        Kill::BeforeTheAnswer => Some(Reply::Hang),
        Kill::DuringTheAnswer => Some(Reply::HeldAfter(gate.clone())),
        _ => None,
    };
    if let Some(reply) = reply {
        household.rig.server.break_with(Fault::at(Endpoint::Token, reply).on_grant("refresh_token").once());
    }
    household.rig.server.expire_access_tokens();
    household.everyone_calls(CALLS).await;
    let record = household.rig.server.record();
    match kind {
        Kill::BeforeTheAnswer => {
            record.wait_for("a refresh", |log| (log.to(Endpoint::Token).count() > asked).then_some(())).await;
        }
        Kill::DuringTheAnswer => {
            record.wait_for("a refresh", |log| (log.refreshes > refreshes).then_some(())).await;
        }
        _ => at_any_time().await,
    }
    household.kill_all().await;
    gate.open();
    household.rig.server.repair();
    let is_unwritten = !household.has_last_token().await;
    let lost = household.move_in().await.iter().any(|line| line != "ready");
    // A request that was on its way to the server when its sender died may have been acted on after that look.
    (is_unwritten || (lost && !household.has_used_last_token()), lost)
}

/// The same for one process.
async fn kill_one(household: &mut Household) -> (bool, bool) {
    household.rig.server.expire_access_tokens();
    household.everyone_calls(CALLS).await;
    at_any_time().await;
    household.kill(rand::random_range(0..MEMBERS)).await;
    let mut said = household.hear().await;
    let lost = said.iter().any(|line| line != "ok");
    // Whoever writes new tokens uses them next; a grant is lost with tokens that nobody has used.
    let in_window = !household.has_used_last_token();
    said.extend(household.move_in().await);
    assert!(lost || said.iter().all(|line| line == "ok" || line == "ready"), "{said:?}");
    assert!(lost || in_window == lost, "{said:?}");
    (in_window, lost)
}

/// The kind of time that a kill comes at. Nothing is waited for.
async fn at_any_time() {
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..ROUND_MS))).await;
}
