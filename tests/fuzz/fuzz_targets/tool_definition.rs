//! Any definition of a tool is read or set aside, and everything that is then asked of it has an answer.
#![no_main]

use connectors_core::{Limits, ToolDefinition};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use serde_json::value::RawValue;

fuzz_target!(|text: &str| {
    let Ok(raw) = serde_json::from_str::<&RawValue>(text) else { return };
    let limits = Limits::default();
    for mirrors_headers in [false, true] {
        let tool = match ToolDefinition::read(raw, &limits, mirrors_headers) {
            Ok(tool) => tool,
            Err(quarantined) => {
                assert!(!quarantined.reason.is_empty());
                continue;
            }
        };
        assert!(!tool.name.is_empty());
        assert_eq!(tool.raw().get(), raw.get());
        assert_eq!(tool.fingerprint().len(), 64);
        assert_eq!(tool.body_fingerprint().len(), 64);
        tool.input_schema();
        tool.output_schema();
        if let Ok(validator) = tool.validator() {
            for arguments in [json!({}), json!({"a": [1, "x", null]}), json!("text")] {
                validator.problems_of_arguments(&arguments);
            }
        }
        let again =
            ToolDefinition::read(tool.raw(), &limits, mirrors_headers).expect("read once, read twice");
        assert_eq!(again.fingerprint(), tool.fingerprint());
    }
});
