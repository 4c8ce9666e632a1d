//! Tests across the crates, over loopback: a module for each path through the system.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure here is a failed test")]

mod bad_input;
mod bad_servers;
mod calls;
mod concurrency;
mod crash;
#[cfg(unix)]
mod disk;
mod environment;
mod first_use;
#[cfg(unix)]
mod full_disk;
mod handshake;
mod http_client;
mod http_transport;
mod imports;
mod in_flight;
mod interop;
mod manifest;
mod oauth;
mod oauth_processes;
mod oauth_rig;
mod processes;
#[cfg(target_os = "linux")]
mod secret_service;
mod secrets;
mod selection;
mod session;
#[cfg(target_os = "linux")]
mod system_calls;
mod team_file;
mod test_server;
mod transport_contract;
