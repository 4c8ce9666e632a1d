//! The contract of `ConfigStore`.
