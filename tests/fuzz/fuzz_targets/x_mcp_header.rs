//! Any schema is read or refused, and what is mirrored from any arguments is a legal header.
#![no_main]

use connectors_core::header_params::read;
use connectors_http::header_value::encode;
use http::{HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|texts: (&str, &str)| {
    let (schema, arguments) = texts;
    let Ok(params) = read(schema) else { return };
    let arguments = serde_json::from_str::<Value>(arguments);
    for (index, param) in params.iter().enumerate() {
        HeaderName::try_from(format!("mcp-param-{}", param.header)).expect("a legal header name");
        let is_double = params[..index].iter().any(|other| other.header.eq_ignore_ascii_case(&param.header));
        assert!(!is_double, "{:?} is there twice", param.header);
        if let Ok(arguments) = &arguments
            && let Some(value) = param.value(arguments)
        {
            HeaderValue::from_str(&encode(&value)).expect("a legal header value");
        }
    }
});
