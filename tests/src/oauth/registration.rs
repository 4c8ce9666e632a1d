//! Clients that register themselves (RFC 7591).

use serde_json::json;

use super::answer::Answer;
use super::ledger::random;
use super::log::Asked;
use super::setup::{AuthMethod, KnownClient, Registration};
use super::state::Desk;

impl Desk<'_> {
    pub(super) fn register(&mut self, asked: &Asked) -> Answer {
        let wanted = &asked.json;
        if self.setup.registration == Registration::Absent {
            return Answer::page(404, "Not found");
        }
        if !wanted.is_object() {
            return Answer::error(400, "invalid_client_metadata", "the body is not a JSON object");
        }
        if let Some(missing) = self.setup.registration_requires.iter().find(|name| wanted[**name].is_null()) {
            return Answer::error(400, "invalid_client_metadata", &format!("{missing} is missing"));
        }
        let redirect_uris: Option<Vec<String>> = wanted["redirect_uris"]
            .as_array()
            .map(|uris| uris.iter().filter_map(|uri| uri.as_str().map(str::to_owned)).collect());
        let redirect_uris = redirect_uris.unwrap_or_default();
        let for_users = !matches!(wanted["grant_types"].as_array(), Some(types) if !types.iter().any(|one| one == "authorization_code"));
        if for_users && redirect_uris.is_empty() {
            return Answer::error(400, "invalid_redirect_uri", "redirect_uris is missing");
        }
        let client = KnownClient {
            id: format!("client-{}", random()),
            secret: None,
            method: self.method_for(wanted["token_endpoint_auth_method"].as_str()),
            key: wanted["jwks"]["keys"].get(0).cloned(),
            redirect_uris,
        };
        self.admit_client(client, asked)
    }

    fn method_for(&self, wanted: Option<&str>) -> AuthMethod {
        if let Registration::Gives(method) = self.setup.registration {
            return method;
        }
        // RFC 7591: the default is a secret; what is not offered may be replaced.
        let wanted = wanted.map_or(Some(AuthMethod::Basic), AuthMethod::by_name);
        let offered = &self.setup.auth_methods;
        wanted
            .filter(|method| offered.contains(method))
            .or_else(|| offered.first().copied())
            .unwrap_or(AuthMethod::None)
    }

    fn admit_client(&mut self, mut client: KnownClient, asked: &Asked) -> Answer {
        let mut body = asked.json.clone();
        body["client_id"] = json!(client.id);
        body["client_id_issued_at"] = json!(super::keys::now());
        body["token_endpoint_auth_method"] = json!(client.method.name());
        if matches!(client.method, AuthMethod::Basic | AuthMethod::Post) {
            let secret = format!("canary-secret-{}", random());
            body["client_secret"] = json!(secret);
            body["client_secret_expires_at"] = json!(0);
            self.note_secret(&secret);
            client.secret = Some(secret);
        }
        self.log.registered.push(client.id.clone());
        self.ledger.clients.insert(client.id.clone(), client);
        Answer::json(201, body)
    }
}
