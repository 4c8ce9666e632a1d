//! A host whose user agrees to everything.

use async_trait::async_trait;
use connectors_core::elicitation::{self, Elicitation, ElicitationAnswer, Elicitor};
use connectors_core::host::{InputHandler, InputRequest};
use connectors_core::protocol::{RpcError, code};
use connectors_core::{Slug, skills};
use serde_json::{Map, Value, json};

pub(crate) struct ConsentingHost;

#[async_trait]
impl InputHandler for ConsentingHost {
    fn capabilities(&self) -> Value {
        json!({
            "elicitation": {"form": {"applyDefaults": true}},
            "roots": {},
            "sampling": {},
            "extensions": {skills::EXTENSION: {}}
        })
    }

    async fn answer(&self, connector: &Slug, request: InputRequest) -> Result<Value, RpcError> {
        match request.method.as_str() {
            "elicitation/create" => elicitation::elicit(&User, connector, &request).await,
            "roots/list" => Ok(json!({"roots": []})),
            "sampling/createMessage" => Ok(json!({
                "role": "assistant",
                "model": "none",
                "content": {"type": "text", "text": "hello"}
            })),
            _ => Err(RpcError::new(code::METHOD_NOT_FOUND, "not offered")),
        }
    }
}

/// Leaves every field as it is offered, and ticks what is required.
struct User;

#[async_trait]
impl Elicitor for User {
    async fn elicit(&self, _: &Slug, elicitation: Elicitation) -> ElicitationAnswer {
        let mut content = Map::new();
        if let Elicitation::Form { schema, .. } = elicitation {
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let property = &schema["properties"][name];
                if property.get("default").is_none() && property["type"] == "boolean" {
                    content.insert(name.to_owned(), true.into());
                }
            }
        }
        ElicitationAnswer::Accept(content)
    }
}
