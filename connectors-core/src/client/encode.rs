//! Writing requests.

use bytes::Bytes;
use serde::Serialize;
use serde::ser::Error;
use serde_json::{Value, json};

use crate::protocol::{Implementation, ProtocolVersion, key};

/// Room for a message, so that most are written without growing it.
const USUAL: usize = 1024;

/// The members of `_meta` that are the same in every modern request of a client, written once (2026-07-28, base protocol,
/// `_meta`).
pub(super) struct ClientMeta(String);

impl ClientMeta {
    pub(super) fn new(info: &Implementation, capabilities: &Value) -> Self {
        let (info_key, capabilities_key) = (key::CLIENT_INFO, key::CLIENT_CAPABILITIES);
        Self(format!(r#""{info_key}":{},"{capabilities_key}":{capabilities}"#, json!(info)))
    }
}

/// The `_meta` of one request.
pub(super) struct Meta<'a> {
    /// Opts the request into progress notifications.
    pub(super) progress_token: Option<i64>,
    /// On modern requests, their version and who sends them.
    pub(super) modern: Option<(ProtocolVersion, &'a ClientMeta)>,
}

/// Writes a request whose `params` are these, with `meta` beside them.
///
/// # Errors
///
/// `params` cannot be written, or not as an object.
pub(super) fn request<P: Serialize>(
    id: i64,
    method: &'static str,
    params: &P,
    meta: &Meta<'_>,
) -> Result<Bytes, serde_json::Error> {
    let mut text = Vec::with_capacity(USUAL);
    text.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    serde_json::to_writer(&mut text, &id)?;
    text.extend_from_slice(br#","method":"#);
    serde_json::to_writer(&mut text, method)?;
    text.extend_from_slice(br#","params":"#);
    serde_json::to_writer(&mut text, params)?;
    // The object stays open for `_meta`.
    if text.pop() != Some(b'}') {
        return Err(serde_json::Error::custom("the parameters are not an object"));
    }
    write_meta(&mut text, meta)?;
    text.extend_from_slice(b"}}");
    Ok(Bytes::from(text))
}

fn write_meta(text: &mut Vec<u8>, meta: &Meta<'_>) -> Result<(), serde_json::Error> {
    if meta.progress_token.is_none() && meta.modern.is_none() {
        return Ok(());
    }
    let separate = |text: &mut Vec<u8>| {
        if text.last() != Some(&b'{') {
            text.push(b',');
        }
    };
    separate(text);
    text.extend_from_slice(br#""_meta":{"#);
    if let Some(token) = meta.progress_token {
        text.extend_from_slice(br#""progressToken":"#);
        serde_json::to_writer(&mut *text, &token)?;
    }
    if let Some((version, ClientMeta(client))) = meta.modern {
        separate(text);
        for part in ["\"", key::PROTOCOL_VERSION, "\":\"", version.as_str(), "\",", client] {
            text.extend_from_slice(part.as_bytes());
        }
    }
    text.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(params: Value, progress_token: Option<i64>, modern: bool) -> Value {
        let info = Implementation { name: "a \"b\"".to_owned(), version: "1".to_owned(), title: None };
        let client = ClientMeta::new(&info, &json!({"elicitation": {}}));
        let modern = modern.then_some((ProtocolVersion::V2026_07_28, &client));
        let text = request(7, "tools/call", &params, &Meta { progress_token, modern }).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn the_metadata_stands_beside_the_parameters() {
        let meta = json!({
            "progressToken": 7,
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "a \"b\"", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}
        });
        assert_eq!(
            written(json!({"name": "t", "arguments": {}}), Some(7), true),
            json!({
                "jsonrpc": "2.0",
                "id": 7,
                "method": "tools/call",
                "params": {"name": "t", "arguments": {}, "_meta": meta}
            })
        );
    }

    #[test]
    fn what_is_not_wanted_is_left_out() {
        let params = |params: Value, token, modern| written(params, token, modern)["params"].clone();
        assert_eq!(params(json!({}), None, false), json!({}));
        assert_eq!(params(json!({"a": 1}), None, false), json!({"a": 1}));
        assert_eq!(params(json!({}), Some(7), false), json!({"_meta": {"progressToken": 7}}));
        assert_eq!(params(json!({}), None, true)["_meta"].as_object().map(|meta| meta.len()), Some(3));
    }

    #[test]
    fn parameters_that_are_no_object_are_refused() {
        let meta = Meta { progress_token: None, modern: None };
        assert!(request(1, "x", &json!([1]), &meta).is_err());
        assert!(request(1, "x", &json!(null), &meta).is_err());
    }
}
