//! connectors-ws
