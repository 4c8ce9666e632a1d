//! What the Secret Service's errors mean to a caller.

use connectors_core::CredentialError;
use secret_service::Error;
use zbus::DBusError;

use crate::keychain::STORE;

/// Why an operation did not succeed.
pub(super) enum Failure {
    /// The bus or the service said so.
    Service(Error),
    /// We do.
    Ours(CredentialError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}

impl Failure {
    /// True if the same operation may succeed on a new connection.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Service(Error::Zbus(_) | Error::ZbusFdo(_) | Error::Crypto(_) | Error::PromptDisconnected)
        )
    }

    pub(super) fn into_error(self) -> CredentialError {
        let error = match self {
            Self::Service(error) => error,
            Self::Ours(error) => return error,
        };
        let unavailable = |reason: String| CredentialError::Unavailable { store: STORE, reason };
        match &error {
            Error::Locked | Error::Prompt => return CredentialError::Locked { store: STORE },
            Error::NoResult => return unavailable("the Secret Service has no default keyring".to_owned()),
            Error::Unavailable => {
                return unavailable("there is no D-Bus session, or no Secret Service in it".to_owned());
            }
            Error::Zbus(zbus::Error::InputOutput(cause) | zbus::Error::Connection(cause, _)) => {
                return unavailable(format!("the D-Bus session cannot be reached: {cause}"));
            }
            Error::Zbus(zbus::Error::Handshake(_)) => {
                return unavailable("the D-Bus session does not let this process in".to_owned());
            }
            _ => {}
        }
        match dbus_name(&error).as_deref() {
            Some("org.freedesktop.Secret.Error.IsLocked") => CredentialError::Locked { store: STORE },
            Some(name) if is_absence(name) => unavailable("no Secret Service is running".to_owned()),
            // As text: the error's own fields hold the whole message.
            _ => CredentialError::Failed { store: STORE, source: error.to_string().into() },
        }
    }
}

/// The name of an error that came over the bus.
fn dbus_name(error: &Error) -> Option<String> {
    match error {
        Error::Zbus(zbus::Error::MethodError(name, _, _)) => Some(name.to_string()),
        Error::Zbus(zbus::Error::FDO(error)) => Some(error.name().to_string()),
        Error::ZbusFdo(error) => Some(error.name().to_string()),
        _ => None,
    }
}

/// True if an error means that nobody has the service's name, and nobody could be started.
fn is_absence(name: &str) -> bool {
    name.strip_prefix("org.freedesktop.DBus.Error.")
        .is_some_and(|name| matches!(name, "ServiceUnknown" | "NameHasNoOwner") || name.starts_with("Spawn"))
}
