//! connectors-http
