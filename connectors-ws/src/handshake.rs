//! `session.auth` and `server.handshake`, as car-server has them.

use std::sync::Arc;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::auth::Token;
use crate::error::{ErrorObject, code};
use crate::openrpc::Schemas;
use crate::params;

/// The version of the protocol between the daemon and its clients.
pub const PROTOCOL_VERSION: u32 = 2;

const AUTH: &str = "session.auth";
const HANDSHAKE: &str = "server.handshake";

#[derive(Deserialize, JsonSchema)]
struct AuthParams {
    /// The token of this launch, from the token file.
    #[schemars(with = "String")]
    token: SecretString,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct AuthResult {
    /// Always true.
    ok: bool,
    /// False where no token is wanted.
    auth_enabled: bool,
}

#[derive(Deserialize, JsonSchema)]
struct HandshakeParams {
    /// The version that the client speaks.
    protocol_version: u32,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct HandshakeResult {
    /// The version that the server speaks.
    protocol_version: u32,
    /// The server's own version.
    server_version: &'static str,
    /// The version that the client asked for.
    client_protocol_version: u32,
}

/// The door of one connection: nothing passes before the token was shown.
#[derive(Debug)]
pub(crate) struct Door {
    token: Option<Arc<Token>>,
    open: bool,
}

/// What becomes of a request at the door.
#[derive(Debug)]
pub(crate) enum Passage {
    /// It is not the door's business: run it.
    Through,
    /// This is its answer.
    Answered(Result<Box<RawValue>, ErrorObject>),
    /// This is its answer, and the end of the connection.
    TurnedAway(ErrorObject),
}

impl Door {
    /// A door that wants this token; `None` stands open.
    pub(crate) fn new(token: Option<Arc<Token>>) -> Self {
        Self { open: token.is_none(), token }
    }

    /// True if what is not a request is worth an answer.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Decides on one request.
    pub(crate) fn pass(&mut self, method: &str, params: Option<&RawValue>) -> Passage {
        match method {
            AUTH => Passage::Answered(self.authenticate(params).and_then(|result| write(&result))),
            _ if !self.open => Passage::TurnedAway(auth_required()),
            HANDSHAKE => Passage::Answered(shake_hands(params).and_then(|result| write(&result))),
            _ => Passage::Through,
        }
    }

    fn authenticate(&mut self, params: Option<&RawValue>) -> Result<AuthResult, ErrorObject> {
        let Some(expected) = &self.token else { return Ok(AuthResult { ok: true, auth_enabled: false }) };
        let AuthParams { token } = params::read(params)?;
        if !expected.is(&token) {
            tracing::warn!("a client showed a wrong token");
            let message = "auth failed: this is not the token of this launch; read the token file again";
            return Err(ErrorObject::plain(code::INTERNAL_ERROR, message));
        }
        self.open = true;
        Ok(AuthResult { ok: true, auth_enabled: true })
    }
}

/// What a connection gets that does not authenticate first.
pub(crate) fn auth_required() -> ErrorObject {
    let message = "auth required: the first message has to be `session.auth` with the token of this launch";
    ErrorObject::plain(code::AUTH_REQUIRED, message)
}

fn shake_hands(params: Option<&RawValue>) -> Result<HandshakeResult, ErrorObject> {
    let HandshakeParams { protocol_version } = params::read(params)?;
    if protocol_version != PROTOCOL_VERSION {
        let message = format!(
            "protocol version {protocol_version} is not supported; this server speaks {PROTOCOL_VERSION}"
        );
        return Err(ErrorObject::plain(code::PROTOCOL_VERSION, message));
    }
    Ok(HandshakeResult {
        protocol_version: PROTOCOL_VERSION,
        server_version: env!("CARGO_PKG_VERSION"),
        client_protocol_version: protocol_version,
    })
}

fn write<T: Serialize>(result: &T) -> Result<Box<RawValue>, ErrorObject> {
    to_raw_value(result).map_err(|_| ErrorObject::internal("the result could not be written"))
}

/// What the OpenRPC document says of the two.
pub(crate) fn describe(schemas: &mut Schemas) -> Vec<Value> {
    vec![
        schemas.describe::<AuthParams, AuthResult>(
            AUTH,
            "Authenticates the connection. Has to be the first request; any other first ends with -32001.",
            &[],
        ),
        schemas.describe::<HandshakeParams, HandshakeResult>(
            HANDSHAKE,
            "Agrees on version 2 of the protocol. Another version ends with -32006.",
            &[],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pass(door: &mut Door, method: &str, params: &Value) -> Value {
        let params = to_raw_value(params).unwrap();
        match door.pass(method, Some(&params)) {
            Passage::Through => json!("through"),
            Passage::Answered(Ok(result)) => serde_json::from_str(result.get()).unwrap(),
            Passage::Answered(Err(error)) => json!({"error": error.code, "message": error.message}),
            Passage::TurnedAway(error) => json!({"turned away": error.code, "message": error.message}),
        }
    }

    #[test]
    fn nothing_passes_before_the_token() {
        let token = Arc::new(Token::generate());
        let mut door = Door::new(Some(Arc::clone(&token)));
        for method in ["connectors.list", "server.handshake", "rpc.discover", "nonsense"] {
            assert_eq!(
                pass(&mut door, method, &json!({"protocol_version": 2})),
                json!({"turned away": -32001, "message":
                    "auth required: the first message has to be `session.auth` with the token of this launch"})
            );
        }
        let wrong = json!({"error": -32603, "message":
            "auth failed: this is not the token of this launch; read the token file again"});
        for other in ["", "x", &"A".repeat(43)] {
            assert_eq!(pass(&mut door, "session.auth", &json!({"token": other})), wrong);
        }
        assert_eq!(
            pass(&mut door, "session.auth", &json!({"token": 1})),
            json!({"error": -32602, "message": "invalid params: `token`: has to be a string"})
        );
        assert!(!door.is_open());
        assert_eq!(
            pass(&mut door, "session.auth", &json!({"token": token.expose()})),
            json!({"ok": true, "auth_enabled": true})
        );
        assert_eq!(pass(&mut door, "connectors.list", &json!({})), json!("through"));
    }

    #[test]
    fn without_a_token_everything_passes_and_says_so() {
        let mut door = Door::new(None);
        assert_eq!(pass(&mut door, "connectors.list", &json!({})), json!("through"));
        assert_eq!(pass(&mut door, "session.auth", &json!({})), json!({"ok": true, "auth_enabled": false}));
    }

    #[test]
    fn the_handshake_is_for_version_two_alone() {
        let mut door = Door::new(None);
        assert_eq!(
            pass(&mut door, "server.handshake", &json!({"protocol_version": 2})),
            json!({"protocol_version": 2, "server_version": env!("CARGO_PKG_VERSION"), "client_protocol_version": 2})
        );
        assert_eq!(
            pass(&mut door, "server.handshake", &json!({"protocol_version": 3})),
            json!({"error": -32006, "message": "protocol version 3 is not supported; this server speaks 2"})
        );
        assert_eq!(
            pass(&mut door, "server.handshake", &json!({})),
            json!({"error": -32602, "message": "invalid params: `protocol_version`: is missing"})
        );
    }
}
