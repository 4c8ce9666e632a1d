//! Devices without a browser (RFC 8628).

use std::time::Instant;

use serde_json::json;

use super::answer::Answer;
use super::ledger::{DeviceCode, Family, random};
use super::log::Asked;
use super::state::Desk;
use super::token::{DEVICE_CODE, TokenRequest};

impl Desk<'_> {
    pub(super) fn authorize_device(&mut self, asked: &Asked) -> Answer {
        self.device_authorization(asked).unwrap_or_else(|refusal| refusal)
    }

    fn device_authorization(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let Some(device) = &self.setup.device else { return Err(Answer::page(404, "Not found")) };
        let client = self.authenticate(asked)?;
        let resource = self.resource_of(asked).map_err(|why| Answer::error(400, "invalid_target", why))?;
        let scope = self.scope_of(asked).map_err(|why| Answer::error(400, "invalid_scope", why))?;
        let device_code = format!("canary-device-{}", random());
        let user_code = format!("{:04}-{:04}", rand::random::<u16>() % 10_000, self.ledger.devices.len());
        let page = self.url("/device");
        let mut body = json!({
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": format!("{page}?user_code={user_code}"),
            "expires_in": device.lifetime.as_secs(),
        });
        if let Some(interval) = device.interval {
            body["interval"] = json!(interval);
        }
        self.note_secret(&device_code);
        let code = DeviceCode {
            consent: Family { client_id: client.id, scope, resource, bound_to: None, revoked: false },
            user_code,
            until: Instant::now() + device.lifetime,
            polls: 0,
            approved: device.approved.then_some(true),
            used: false,
        };
        self.ledger.devices.insert(device_code, code);
        Ok(Answer::json(200, body))
    }

    /// The page where the user enters the code; opening it with one is consent.
    pub(super) fn device_page(&mut self, asked: &Asked) -> Answer {
        let user_code = asked.parameter("user_code");
        let known = self.ledger.devices.values_mut().find(|device| device.user_code == user_code);
        match known {
            Some(device) => {
                device.approved = Some(true);
                Answer::page(200, "The device is connected")
            }
            None => Answer::page(400, "This code is not known"),
        }
    }

    pub(super) fn poll_device(&mut self, request: &TokenRequest<'_>) -> Result<Answer, Answer> {
        let error = |error: &str| Err(Answer::error(400, error, "of this device code"));
        let Some(setup) = &self.setup.device else { return error("unsupported_grant_type") };
        let Some(device) = self.ledger.devices.get_mut(request.asked.parameter("device_code")) else {
            return error("invalid_grant");
        };
        if device.consent.client_id != request.client.id || device.used {
            return error("invalid_grant");
        }
        let poll = device.polls;
        device.polls += 1;
        if let Some(scripted) = setup.first_polls.get(poll) {
            return error(scripted);
        }
        if device.until <= Instant::now() {
            return error("expired_token");
        }
        match device.approved {
            None => return error("authorization_pending"),
            Some(false) => return error("access_denied"),
            Some(true) => device.used = true,
        }
        let mut consent = device.consent.clone();
        consent.bound_to = request.key.clone();
        let (scope, family) = (consent.scope.clone(), self.ledger.open_family(consent));
        let with_refresh = self.gives_refresh(&scope);
        Ok(self.issue(DEVICE_CODE, family, scope, with_refresh))
    }
}
