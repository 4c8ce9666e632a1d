//! Starting the servers that a definition describes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use connectors_core::transport::{DialTarget, InvalidDefinition};
use connectors_core::{ConnectorDefinition, Dialer, SecretVariable, StdioCommand, Transport, TransportError};
use secrecy::ExposeSecret;

use crate::process::Program;
use crate::redact::Redactor;
use crate::transport::StdioTransport;
use crate::{environment, lookup};

/// Starts a server's process for each dial.
///
/// The process gets the definition's command and arguments as they are, never through a shell, in the
/// definition's folder or else in this program's working directory. Its environment is a fixed list of this program's variables (`PATH`, `HOME`, locale, proxies,
/// certificates and the like; no tokens), on top of it the definition's own, and on top of these the secret ones
/// ([`DialTarget::environment`]).
#[derive(Debug, Clone, Default)]
pub struct StdioDialer(());

impl StdioDialer {
    /// A dialer.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Dialer for StdioDialer {
    fn serves(&self, definition: &ConnectorDefinition) -> bool {
        definition.stdio.is_some()
    }

    fn check(&self, definition: &ConnectorDefinition) -> Result<(), InvalidDefinition> {
        let invalid = |field, problem: &str| Err(InvalidDefinition { field, problem: problem.to_owned() });
        let Some(StdioCommand { command, args, env, secret_env, cwd, .. }) = &definition.stdio else {
            return invalid("command", "enter the program to start");
        };
        if command.trim().is_empty() {
            return invalid("command", "is empty: enter the program to start");
        }
        if command.contains('\0') {
            return invalid("command", "contains a NUL character");
        }
        if cwd.as_ref().is_some_and(|cwd| !Path::new(cwd).is_absolute() || cwd.contains('\0')) {
            return invalid("cwd", "has to be the absolute path of a folder");
        }
        if args.iter().any(|arg| arg.contains('\0')) {
            return invalid("args", "an argument contains a NUL character");
        }
        if !env.keys().chain(secret_env).all(|name| environment::is_name(name)) {
            return invalid("env", "a variable's name is empty, or contains `=` or a NUL character");
        }
        if env.values().any(|value| value.contains('\0')) {
            return invalid("env", "a variable's value contains a NUL character");
        }
        Ok(())
    }

    async fn dial(&self, target: DialTarget) -> Result<Arc<dyn Transport>, TransportError> {
        let DialTarget { definition, limits, environment: secret, .. } = target;
        self.check(&definition)
            .map_err(|error| TransportError::NotStarted { reason: error.to_string(), source: None })?;
        let Some(stdio) = &definition.stdio else {
            return Err(TransportError::Refused("this connector has no command to start".to_owned()));
        };
        let span = tracing::debug_span!("stdio", connector = %definition.slug);
        let _entered = span.enter();
        let program = program(stdio, &secret)?;
        let transport = StdioTransport::spawn(&program, redactor(stdio, &secret), &limits)
            .map_err(|error| lookup::explain(&program.file, error))?;
        Ok(Arc::new(transport))
    }
}

/// The program of a target that another way of starting processes takes, and what is to be taken out of what it says.
#[cfg(all(feature = "car-engine", target_os = "linux"))]
pub(crate) fn prepared(target: &DialTarget) -> Result<(Program, Redactor), TransportError> {
    let checked = StdioDialer::new().check(&target.definition);
    checked.map_err(|error| TransportError::NotStarted { reason: error.to_string(), source: None })?;
    match &target.definition.stdio {
        Some(stdio) => Ok((program(stdio, &target.environment)?, redactor(stdio, &target.environment))),
        None => Err(TransportError::Refused("this connector has no command to start".to_owned())),
    }
}

fn program(stdio: &StdioCommand, secret: &[SecretVariable]) -> Result<Program, TransportError> {
    let own = stdio.env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let secret =
        secret.iter().map(|SecretVariable { name, value }| (name.into(), value.expose_secret().into()));
    let environment: Vec<_> = environment::inherited(std::env::vars_os()).chain(own).chain(secret).collect();
    let extensions = executable_extensions(&environment);
    let file = lookup::find(&stdio.command, environment::value(&environment, "PATH"), &extensions)?;
    Ok(Program { file, args: stdio.args.clone(), environment, folder: folder(stdio)? })
}

fn redactor(stdio: &StdioCommand, secret: &[SecretVariable]) -> Redactor {
    Redactor::new(stdio.env.values().map(String::as_str))
        .with_secrets(secret.iter().map(|variable| variable.value.expose_secret()))
}

/// Looked at first: the system says of a missing folder what it says of a missing program.
fn folder(stdio: &StdioCommand) -> Result<Option<PathBuf>, TransportError> {
    let Some(cwd) = &stdio.cwd else { return Ok(None) };
    if Path::new(cwd).is_dir() {
        return Ok(Some(cwd.into()));
    }
    let cwd = connectors_core::text::display(cwd, 200);
    let reason = format!("the folder `{cwd}`, which the command is to be started in, is not there");
    Err(TransportError::NotStarted { reason, source: None })
}

/// What a program's name may end with where the system goes by that.
fn executable_extensions(environment: &[(OsString, OsString)]) -> Vec<String> {
    if !cfg!(windows) {
        return Vec::new();
    }
    let listed = environment::value(environment, "PATHEXT").and_then(|listed| listed.to_str());
    // Scripts of other kinds (`.js`, `.vbs`) are in the list as well, but a process cannot be made of them.
    let startable = |extension: &&str| {
        [".COM", ".EXE", ".BAT", ".CMD"].iter().any(|known| known.eq_ignore_ascii_case(extension))
    };
    listed.unwrap_or(".COM;.EXE;.BAT;.CMD").split(';').filter(startable).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use connectors_core::Slug;

    use super::*;

    fn definition(command: &str, args: &[&str], env: &[(&str, &str)]) -> ConnectorDefinition {
        let stdio = StdioCommand {
            command: command.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..StdioCommand::default()
        };
        ConnectorDefinition::stdio(Slug::from_name("x"), "X", stdio)
    }

    #[test]
    fn what_cannot_be_started_is_refused_with_its_field() {
        let problem = |definition: &ConnectorDefinition| {
            StdioDialer::new().check(definition).map_err(|error| error.to_string())
        };
        assert_eq!(problem(&definition("npx", &["-y", ""], &[("KEY", ""), ("a.b", "x=y")])), Ok(()));
        assert_eq!(
            problem(&definition(" ", &[], &[])),
            Err("`command`: is empty: enter the program to start".to_owned())
        );
        assert_eq!(
            problem(&definition("a\0", &[], &[])),
            Err("`command`: contains a NUL character".to_owned())
        );
        assert_eq!(
            problem(&definition("a", &["\0"], &[])),
            Err("`args`: an argument contains a NUL character".to_owned())
        );
        let mut elsewhere = definition("a", &[], &[]);
        elsewhere.stdio.as_mut().unwrap().cwd = Some("somewhere".to_owned());
        assert_eq!(problem(&elsewhere), Err("`cwd`: has to be the absolute path of a folder".to_owned()));
        let name = Err("`env`: a variable's name is empty, or contains `=` or a NUL character".to_owned());
        for bad in ["", "A=B", "A\0"] {
            assert_eq!(problem(&definition("a", &[], &[(bad, "")])), name);
        }
        let mut secret = definition("a", &[], &[]);
        secret.stdio.as_mut().unwrap().secret_env = vec!["A=B".to_owned()];
        assert_eq!(problem(&secret), name);
        assert_eq!(
            problem(&definition("a", &[], &[("A", "\0")])),
            Err("`env`: a variable's value contains a NUL character".to_owned())
        );
    }

    #[test]
    fn it_serves_what_has_a_command() {
        assert!(StdioDialer::new().serves(&definition("a", &[], &[])));
        let http = ConnectorDefinition::http(Slug::from_name("x"), "X", "https://host/mcp");
        assert!(!StdioDialer::new().serves(&http));
    }
}
