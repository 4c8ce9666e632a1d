//! Servers that others wrote.
//!
//! They come from package registries, so these tests run only where `CONNECTORS_INTEROP` names a folder in which they are
//! installed, as `interop/README.md` says; elsewhere they say so and pass.

mod everything;
mod host;
mod main_job;
mod oidc;
mod oidc_rig;
mod sdks;
mod servers;
mod surface;
