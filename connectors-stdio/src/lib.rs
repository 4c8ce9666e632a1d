//! connectors-stdio
