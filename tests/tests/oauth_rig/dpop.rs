//! Proofs of possession.

use connectors_tests::oauth::{DpopUse, GuardSetup, KeyPair, Rig, Setup, Verdict, follow};
use connectors_tests::{Script, Tool};

use super::hand_client::{HandClient, registered, tokens};

async fn rig(nonces: bool, renews_nonce: bool) -> (Rig, HandClient) {
    let setup = Setup { dpop: DpopUse::Required, dpop_nonces: nonces, ..Setup::default() };
    let guard = GuardSetup { dpop_nonces: nonces, renews_nonce, ..GuardSetup::default() };
    let rig = Rig::start(Script::modern().with_tools([Tool::echo()]), guard, setup);
    let mut client = registered(&rig).await;
    client.key = Some(KeyPair::generate());
    (rig, client)
}

#[tokio::test]
async fn both_servers_demand_proofs_with_their_own_nonces() {
    let (rig, mut client) = rig(true, false).await;
    let callback = follow(&client.authorize_url(&[])).await;
    let refused = client.exchange(&callback).await;
    assert_eq!(refused.error(), (400, "use_dpop_nonce"));
    client.nonce = Some(refused.header("dpop-nonce").to_owned());
    let came = client.exchange(&callback).await;
    let (access, refresh) = tokens(&came);
    assert_eq!(came.body["token_type"], "DPoP");

    let refused = client.use_token(&access, None).await;
    assert_eq!(refused.error(), (401, "use_dpop_nonce"));
    assert!(refused.header("www-authenticate").starts_with(r#"DPoP algs="ES256""#));
    let of_server = client.nonce.replace(refused.header("dpop-nonce").to_owned());
    assert_eq!(client.use_token(&access, None).await.status, 200);
    assert_eq!(rig.guard.count(Verdict::NoNonce), 1);

    client.nonce = of_server;
    let (_, refresh) = tokens(&client.refresh(&refresh).await);
    rig.server.rotate_nonce();
    assert_eq!(client.refresh(&refresh).await.error(), (400, "use_dpop_nonce"));
    assert_eq!(rig.server.tokens_issued()[1].bound_to, Some(client.key.unwrap().thumbprint()));
}

#[tokio::test]
async fn without_its_key_a_token_is_no_good() {
    let (rig, mut client) = rig(false, false).await;
    let callback = follow(&client.authorize_url(&[])).await;
    let key = client.key.take();
    assert_eq!(client.exchange(&callback).await.error(), (400, "invalid_dpop_proof"));
    client.key.clone_from(&key);
    let (access, refresh) = tokens(&client.exchange(&callback).await);
    client.key = None;
    assert_eq!(client.use_token(&access, None).await.status, 401);
    client.key = Some(KeyPair::generate());
    assert_eq!(client.use_token(&access, None).await.error(), (401, "invalid_dpop_proof"));
    assert_eq!(client.refresh(&refresh).await.error(), (400, "invalid_dpop_proof"));
    client.key = key;
    assert_eq!(client.use_token(&access, None).await.status, 200);
    let verdicts: Vec<_> = rig.guard.sightings().into_iter().map(|one| one.verdict).collect();
    assert_eq!(verdicts, [Verdict::Missing, Verdict::Missing, Verdict::BadProof, Verdict::Good]);
}

#[tokio::test]
async fn a_guard_can_give_another_nonce_with_every_answer() {
    let (_rig, mut client) = rig(true, true).await;
    let callback = follow(&client.authorize_url(&[])).await;
    client.nonce = Some(client.exchange(&callback).await.header("dpop-nonce").to_owned());
    let (access, _) = tokens(&client.exchange(&callback).await);
    let mut nonce = client.use_token(&access, None).await.header("dpop-nonce").to_owned();
    for _ in 0..2 {
        client.nonce = Some(nonce.clone());
        let came = client.use_token(&access, None).await;
        assert_eq!(came.status, 200);
        assert!(came.header("dpop-nonce") != nonce);
        nonce = came.header("dpop-nonce").to_owned();
    }
}
