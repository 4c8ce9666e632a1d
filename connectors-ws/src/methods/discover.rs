//! `rpc.discover`

use serde_json::Value;

use super::{Context, Method, NoParams};
use crate::error::ErrorObject;
use crate::openrpc;

pub(crate) struct Discover;

impl Method for Discover {
    const NAME: &'static str = "rpc.discover";
    const SUMMARY: &'static str = "The OpenRPC document that describes all of this.";
    type Params = NoParams;
    type Output = Value;

    async fn run(_: Context<'_>, _: NoParams) -> Result<Value, ErrorObject> {
        Ok(openrpc::document())
    }
}
