//! Ten processes that share one connector and its tokens, against a server that revokes a whole grant when a refresh token is used
//! twice.
//!
//! Ordinarily there are 100 expiries and 12 kills. `CONNECTORS_EXPIRIES` and `CONNECTORS_KILLS` say how many instead, for instance
//! `CONNECTORS_EXPIRIES=1000 CONNECTORS_KILLS=100 cargo test -p connectors-tests --test main oauth_processes -- --nocapture`.

mod household;
mod kills;

use household::{Household, MEMBERS};

/// Calls of each process between two expiries.
const CALLS: usize = 3;

fn how_many(variable: &str, ordinarily: usize) -> usize {
    std::env::var(variable).map_or(ordinarily, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_ten_processes_succeeds_whenever_the_token_expires() {
    let expiries = how_many("CONNECTORS_EXPIRIES", 100);
    let mut household = Household::found().await;
    assert_eq!(household.move_in().await, ["ready"; MEMBERS]);
    let before = household.rig.server.refreshes();
    for round in 0..expiries {
        // In the midst of their calls, so that some are on the way with the token that expires. A call survives one expiry, so the next
        // waits until all are done.
        household.everyone_calls(CALLS).await;
        household.said_in_all(rand::random_range(0..=MEMBERS)).await;
        household.rig.server.expire_access_tokens();
        household.said_in_all(MEMBERS * CALLS).await;
        let said = household.hear().await;
        assert!(said.iter().all(|line| line == "ok"), "after {round} expiries: {said:?}");
        // Where all had ended before the expiry.
        assert_eq!(household.one_calls().await, "ok", "after {round} expiries");
    }
    let server = &household.rig.server;
    println!(
        "{MEMBERS} processes, {expiries} expiries, {} refreshes, {} reuses, {} grants lost",
        server.refreshes() - before,
        server.reuses(),
        server.families_revoked()
    );
    assert_eq!((server.refreshes() - before, server.reuses(), server.families_revoked()), (expiries, 0, 0));
}
