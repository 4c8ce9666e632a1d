//! The keychain of Linux desktops, on a real Secret Service: GNOME Keyring on a message bus of its own.
//!
//! Needs `gnome-keyring-daemon`, `dbus-daemon` and `dbus-send`, and for some tests `keyring-writer`, the package beside this one.
//! Runs only where `CONNECTORS_SECRET_SERVICE` is set, to the path of that program, or to `1` where there is none.

mod desktop;
mod moving;
mod outages;
mod sharing;
