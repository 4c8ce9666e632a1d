//! connectors-oauth
