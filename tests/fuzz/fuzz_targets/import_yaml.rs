//! Any settings file of goose is read or refused, each entry by itself, and nothing of it is printed.
#![no_main]

use connectors_store::import::Client;
use libfuzzer_sys::fuzz_target;

#[path = "import_common/mod.rs"]
mod import_common;

fuzz_target!(|bytes: &[u8]| import_common::check(Client::Goose, bytes));
