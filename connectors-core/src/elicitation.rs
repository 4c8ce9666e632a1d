//! Elicitation: what a server asks of the user, checked before anybody is asked and before anything is answered
//! (2026-07-28, client, elicitation).

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use url::Url;

use crate::host::{InputHandler, InputRequest};
use crate::http::is_loopback;
use crate::names::Slug;
use crate::protocol::{RpcError, code};
use crate::schema;

/// Words in a field's name or title that mean a secret, which a form must never ask for.
const SECRET_WORDS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "api key",
    "apikey",
    "access token",
    "credit card",
    "card number",
    "cvv",
];

/// Longest message that is shown, in bytes.
const MAX_MESSAGE: usize = 4_000;

/// What a server asks of the user.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Elicitation {
    /// To fill in a form.
    Form {
        /// Why. Untrusted, made fit for display.
        message: String,
        /// A flat object schema with primitive properties, verbatim.
        schema: Value,
    },
    /// To visit a page, outside of this client.
    Url {
        /// Why. Untrusted, made fit for display.
        message: String,
        /// The page: shown in full before it is opened, and never fetched by this client.
        url: Url,
    },
}

/// What the user did.
#[derive(Debug, Clone, PartialEq)]
pub enum ElicitationAnswer {
    /// Agreed; for a form, with these values. Properties that are missing get their defaults.
    Accept(Map<String, Value>),
    /// Said no.
    Decline,
    /// Went away without a choice.
    Cancel,
}

/// Shows a server's request to the user.
///
/// *Cancellation.* The future is dropped when the call that needs the answer is.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Elicitor: Send + Sync + 'static {
    /// Asks the user on behalf of `connector`, which has to be named.
    async fn elicit(&self, connector: &Slug, elicitation: Elicitation) -> ElicitationAnswer;
}

/// An [`InputHandler`] that offers elicitation and nothing else.
#[derive(Debug)]
pub struct ElicitationInput<E>(pub E);

#[async_trait]
impl<E: Elicitor> InputHandler for ElicitationInput<E> {
    fn capabilities(&self) -> Value {
        json!({"elicitation": {"form": {}, "url": {}}})
    }

    async fn answer(&self, connector: &Slug, request: InputRequest) -> Result<Value, RpcError> {
        if request.method != "elicitation/create" {
            return Err(RpcError::new(code::METHOD_NOT_FOUND, "this client does not offer it"));
        }
        elicit(&self.0, connector, &request).await
    }
}

/// Answers an `elicitation/create` request with the help of `elicitor`.
///
/// A request that breaks the rules (a URL that is not HTTPS, a form that asks for a password) is declined without asking
/// anybody; content that does not satisfy the schema is never sent.
pub async fn elicit(
    elicitor: &dyn Elicitor,
    connector: &Slug,
    request: &InputRequest,
) -> Result<Value, RpcError> {
    let elicitation = read(request.params.as_deref())?;
    if let Some(reason) = refusal(&elicitation) {
        tracing::warn!(slug = %connector, reason, "declined what the server asks of the user");
        return Ok(json!({"action": "decline"}));
    }
    let schema = match &elicitation {
        Elicitation::Form { schema, .. } => Some(schema.clone()),
        Elicitation::Url { .. } => None,
    };
    Ok(match (elicitor.elicit(connector, elicitation).await, schema) {
        (ElicitationAnswer::Decline, _) => json!({"action": "decline"}),
        (ElicitationAnswer::Cancel, _) => json!({"action": "cancel"}),
        (ElicitationAnswer::Accept(_), None) => json!({"action": "accept"}),
        (ElicitationAnswer::Accept(mut content), Some(schema)) => {
            fill_defaults(&schema, &mut content);
            let content = Value::Object(content);
            let problems = schema::compile(&schema).map(|validator| validator.problems(&content));
            match problems {
                Ok(problems) if problems.is_empty() => json!({"action": "accept", "content": content}),
                _ => {
                    tracing::warn!(slug = %connector, "the answer does not satisfy the form; it was not sent");
                    json!({"action": "cancel"})
                }
            }
        }
    })
}

/// Gives every missing property its default.
pub fn fill_defaults(schema: &Value, content: &mut Map<String, Value>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, property) in properties {
        if let Some(default) = property.get("default")
            && !content.contains_key(name)
        {
            content.insert(name.clone(), default.clone());
        }
    }
}

/// True for the parameters of an elicitation whose page may be shown to the user.
pub(crate) fn is_visitable(params: &RawValue) -> bool {
    read(Some(params)).is_ok_and(|elicitation| {
        matches!(elicitation, Elicitation::Url { .. }) && refusal(&elicitation).is_none()
    })
}

fn read(params: Option<&RawValue>) -> Result<Elicitation, RpcError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params {
        #[serde(default)]
        mode: Option<String>,
        #[serde(default)]
        message: String,
        #[serde(default)]
        requested_schema: Option<Value>,
        #[serde(default)]
        url: Option<String>,
    }
    let invalid = |problem: &str| RpcError::new(code::INVALID_PARAMS, problem);
    let params = params.ok_or_else(|| invalid("elicitation without parameters"))?;
    let params: Params = serde_json::from_str(params.get()).map_err(|_| invalid("unreadable elicitation"))?;
    let message = crate::text::display(&params.message, MAX_MESSAGE);
    match params.mode.as_deref() {
        None | Some("form") => {
            let schema = params.requested_schema.ok_or_else(|| invalid("a form without requestedSchema"))?;
            if !is_flat(&schema) {
                return Err(invalid("a form is a flat object with primitive properties"));
            }
            Ok(Elicitation::Form { message, schema })
        }
        Some("url") => {
            let url =
                params.url.and_then(|url| Url::parse(&url).ok()).ok_or_else(|| invalid("no valid URL"))?;
            Ok(Elicitation::Url { message, url })
        }
        Some(_) => Err(invalid("unknown mode")),
    }
}

fn is_flat(schema: &Value) -> bool {
    let is_primitive = |property: &Value| match property["type"].as_str() {
        Some("string" | "number" | "integer" | "boolean") => true,
        Some("array") => property["items"].get("properties").is_none(),
        _ => property.get("enum").is_some(),
    };
    schema["type"] == "object"
        && schema
            .get("properties")
            .is_none_or(|p| p.as_object().is_some_and(|p| p.values().all(is_primitive)))
}

/// Why nobody is asked.
fn refusal(elicitation: &Elicitation) -> Option<&'static str> {
    match elicitation {
        Elicitation::Form { schema, .. } => {
            let asks = |(name, property): (&String, &Value)| {
                let label = format!("{name} {}", property["title"].as_str().unwrap_or_default())
                    .to_lowercase()
                    .replace(['_', '-'], " ");
                property["format"] == "password" || SECRET_WORDS.iter().any(|word| label.contains(word))
            };
            let properties = schema["properties"].as_object()?;
            properties.iter().any(asks).then_some("a form must not ask for a secret")
        }
        Elicitation::Url { url, .. } => {
            if !(url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))) {
                return Some("only https pages are opened");
            }
            (!url.username().is_empty() || url.password().is_some()).then_some("the URL holds credentials")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;

    async fn answered(params: Value, answer: Option<ElicitationAnswer>) -> Result<Value, i64> {
        let mut elicitor = MockElicitor::new();
        match answer {
            Some(answer) => {
                elicitor.expect_elicit().once().returning(move |_, _| answer.clone());
            }
            None => {
                elicitor.expect_elicit().never();
            }
        }
        let request = InputRequest {
            method: "elicitation/create".to_owned(),
            params: Some(to_raw_value(&params).unwrap()),
        };
        ElicitationInput(elicitor).answer(&Slug::verbatim("s"), request).await.map_err(|error| error.code)
    }

    fn form(properties: Value) -> Value {
        json!({"message": "?", "requestedSchema": {"type": "object", "properties": properties, "required": ["name"]}})
    }

    #[tokio::test]
    async fn an_accepted_form_is_completed_with_its_defaults() {
        let properties = json!({
            "name": {"type": "string"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": ["active", "away"], "default": "active"},
            "verified": {"type": "boolean", "default": true},
            "colours": {"type": "array", "items": {"enum": ["a", "b"]}, "default": ["a"]},
            "optional": {"type": "string"}
        });
        let filled = Map::from_iter([("name".to_owned(), json!("Jo")), ("age".to_owned(), json!(5))]);
        let answer = answered(form(properties), Some(ElicitationAnswer::Accept(filled))).await.unwrap();
        let content = json!({
            "name": "Jo", "age": 5, "score": 95.5, "status": "active", "verified": true, "colours": ["a"]
        });
        assert_eq!(answer, json!({"action": "accept", "content": content}));
    }

    #[tokio::test]
    async fn content_that_does_not_satisfy_the_form_is_not_sent() {
        let properties = json!({"name": {"type": "string", "minLength": 3}});
        let short = Map::from_iter([("name".to_owned(), json!("x"))]);
        for content in [short, Map::new()] {
            let answer =
                answered(form(properties.clone()), Some(ElicitationAnswer::Accept(content))).await.unwrap();
            assert_eq!(answer, json!({"action": "cancel"}));
        }
    }

    #[tokio::test]
    async fn what_the_user_did_is_what_the_server_learns() {
        let ask = |answer| answered(form(json!({})), Some(answer));
        assert_eq!(ask(ElicitationAnswer::Decline).await.unwrap(), json!({"action": "decline"}));
        assert_eq!(ask(ElicitationAnswer::Cancel).await.unwrap(), json!({"action": "cancel"}));
        let url = json!({"mode": "url", "message": "?", "url": "https://example.com/x"});
        let accepted = answered(url, Some(ElicitationAnswer::Accept(Map::new()))).await.unwrap();
        assert_eq!(accepted, json!({"action": "accept"}));
    }

    #[tokio::test]
    async fn a_form_that_asks_for_a_secret_is_declined_without_asking() {
        for (name, property) in [
            ("password", json!({"type": "string"})),
            ("x", json!({"type": "string", "title": "Your API-Key"})),
            ("y", json!({"type": "string", "format": "password"})),
            ("Access_Token", json!({"type": "string"})),
        ] {
            let asks = form(json!({name: property}));
            assert_eq!(answered(asks, None).await.unwrap(), json!({"action": "decline"}), "{name}");
        }
    }

    #[tokio::test]
    async fn a_page_that_must_not_be_opened_is_declined_without_asking() {
        for url in
            ["http://example.com", "javascript:alert(1)", "file:///etc/passwd", "https://user:pw@example.com"]
        {
            let page = json!({"mode": "url", "message": "?", "url": url});
            assert_eq!(answered(page, None).await.unwrap(), json!({"action": "decline"}), "{url}");
        }
    }

    #[tokio::test]
    async fn what_is_no_elicitation_is_an_error() {
        let nested = form(json!({"a": {"type": "object", "properties": {}}}));
        for params in [json!({}), json!({"mode": "url"}), json!({"mode": "dance"}), nested] {
            assert_eq!(answered(params, None).await, Err(-32602));
        }
    }
}
