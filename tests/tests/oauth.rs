//! Signing in with OAuth, through a manager in this process, against a scriptable authorization server.

mod attacks;
mod broken;
mod downgrades;
mod flows;
mod renewal;
mod secrets;
mod signed;
mod step_up;
