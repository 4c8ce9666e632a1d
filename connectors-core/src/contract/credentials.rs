//! The contract of `CredentialStore`.
