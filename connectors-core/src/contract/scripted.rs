//! The contract of `Transport`.
