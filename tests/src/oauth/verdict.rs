//! Whether a request may in, and how it is told that it may not (RFC 6750, RFC 9449).

use super::answer::Answer;
use super::dpop::{Claim, ProofFault};
use super::guard::TokenGuard;
use super::guard_setup::{ChallengeForm, GuardSetup};
use super::ledger::{Good, Standing};
use super::setup::DpopUse;
use crate::mcp_server::SeenRequest;

/// A request for the MCP endpoint, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Its JSON-RPC method, or `GET` or `DELETE`.
    pub method: String,
    /// The token that it showed; empty if none.
    pub token: String,
    /// What became of it.
    pub verdict: Verdict,
}

/// What is made of a request and its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let in.
    Good,
    /// Let in, though it may have no token.
    Open,
    /// No token, or under another scheme than it is for.
    Missing,
    /// A token of nobody who is trusted.
    Unknown,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
    /// It is for another resource.
    ForAnother,
    /// It does not cover what is asked.
    InsufficientScope,
    /// The DPoP proof is missing or wrong.
    BadProof,
    /// The DPoP proof lacks the nonce.
    NoNonce,
}

impl TokenGuard {
    /// The token that a request shows, and what is made of both.
    pub(super) fn judge(&self, request: &SeenRequest) -> (String, Verdict) {
        let setup = self.setup().clone();
        if setup.open_methods.contains(&request.method()) {
            return (String::new(), Verdict::Open);
        }
        let (scheme, token) = request.header("authorization").split_once(' ').unwrap_or_default();
        let token = token.trim().to_owned();
        if token.is_empty() {
            return (token, Verdict::Missing);
        }
        let mut worst = Verdict::Unknown;
        for server in self.trusted() {
            worst = match server.standing(&token) {
                Standing::Unknown => continue,
                Standing::Expired => Verdict::Expired,
                Standing::Revoked => Verdict::Revoked,
                Standing::Good(good) => self.judge_good(&setup, request, scheme, &token, &good),
            };
        }
        (token, worst)
    }

    fn judge_good(
        &self,
        setup: &GuardSetup,
        request: &SeenRequest,
        scheme: &str,
        token: &str,
        good: &Good,
    ) -> Verdict {
        let bound = if good.bound_to.is_some() { "DPoP" } else { "Bearer" };
        if !scheme.eq_ignore_ascii_case(bound) {
            return Verdict::Missing;
        }
        if good.resource.as_ref().is_some_and(|resource| *resource != self.resource()) {
            return Verdict::ForAnother;
        }
        if let Some(key) = &good.bound_to {
            let claim = Claim {
                headers: &request.headers,
                method: request.http_method.as_str(),
                url: &format!("{}/mcp", self.origin()),
                token: Some(token),
                with_nonce: setup.dpop_nonces,
            };
            match self.proofs().check(claim) {
                Ok(proved) if proved == *key => {}
                Err(ProofFault::Nonce) => return Verdict::NoNonce,
                Ok(_) | Err(_) => return Verdict::BadProof,
            }
        }
        match needed(setup, request) {
            needed if needed.iter().all(|scope| good.scope.iter().any(|has| has == scope)) => Verdict::Good,
            _ => Verdict::InsufficientScope,
        }
    }

    /// The answer to a request that may not in.
    pub(super) fn refusal(&self, request: &SeenRequest, verdict: Verdict) -> Answer {
        let setup = self.setup().clone();
        let (status, error) = match verdict {
            Verdict::Missing => (setup.challenge_status, None),
            Verdict::InsufficientScope => (403, Some("insufficient_scope")),
            Verdict::BadProof => (401, Some("invalid_dpop_proof")),
            Verdict::NoNonce => (401, Some("use_dpop_nonce")),
            _ => (setup.challenge_status, Some("invalid_token")),
        };
        let mut answer = Answer::error(status, error.unwrap_or("unauthorized"), &format!("{verdict:?}"));
        let metadata = self.metadata_url();
        match &setup.challenge {
            ChallengeForm::Absent => {}
            ChallengeForm::Custom(fields) => {
                for field in fields {
                    let field = field.replace("{metadata}", &metadata.clone().unwrap_or_default());
                    answer = answer.with_header("www-authenticate", field);
                }
            }
            form => {
                let named = metadata.filter(|_| *form == ChallengeForm::WithMetadata);
                let scope = match verdict {
                    Verdict::InsufficientScope => Some(needed(&setup, request).join(" ")),
                    _ => setup.challenge_scope.clone(),
                };
                answer = answer.with_header("www-authenticate", self.challenge(error, named, scope));
            }
        }
        if setup.dpop_nonces { answer.with_header("dpop-nonce", self.proofs().nonce()) } else { answer }
    }

    fn challenge(&self, error: Option<&str>, metadata: Option<String>, scope: Option<String>) -> String {
        let bound = self.trusted().iter().any(|server| server.setup().dpop == DpopUse::Required);
        let of_proofs = error.is_some_and(|error| error.contains("dpop"));
        let parameters: Vec<_> = [
            (bound || of_proofs).then(|| r#"algs="ES256""#.to_owned()),
            metadata.map(|url| format!(r#"resource_metadata="{url}""#)),
            scope.map(|scope| format!(r#"scope="{scope}""#)),
            error.map(|error| format!(r#"error="{error}""#)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let scheme = if bound || of_proofs { "DPoP" } else { "Bearer" };
        format!("{scheme} {}", parameters.join(", ")).trim_end().to_owned()
    }
}

/// The scopes that a request needs.
fn needed(setup: &GuardSetup, request: &SeenRequest) -> Vec<String> {
    let mut scopes: Vec<String> =
        setup.scope.iter().flat_map(|all| all.split_whitespace()).map(str::to_owned).collect();
    if request.method() == "tools/call" {
        let name = request.body["params"]["name"].as_str().unwrap_or_default();
        let of_tool = setup.tool_scopes.iter().filter(|(tool, _)| tool == name);
        scopes.extend(of_tool.map(|(_, scope)| scope.clone()));
    }
    scopes
}
