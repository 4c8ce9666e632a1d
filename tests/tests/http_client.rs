//! The HTTP stack that connections and sign-ins share: networks with authorities, certificates and proxies of their own, and
//! the guard on where metadata may lead.

mod addresses;
mod certificates;
mod environment;
mod exchange;
mod proxies;
mod tls;
mod trace;
mod tunnel;
