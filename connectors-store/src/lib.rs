//! connectors-store
