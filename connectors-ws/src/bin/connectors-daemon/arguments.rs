//! The command line.

use connectors_ws::SecretsChoice;
use lexopt::prelude::*;

const DEFAULT_PORT: u16 = 9100;

const HELP: &str = "\
Serves connectors (MCP servers and their tools) to programs on this machine,
over a WebSocket on 127.0.0.1, and shows them in a browser.

Usage: connectors-daemon [OPTIONS]

Options:
      --port N         Port to listen on; 0 picks a free one [default: 9100]
      --secrets WHERE  Where secrets are kept: auto, keychain, vault or memory
                       [default: auto]
      --no-auth        Let clients in without the token of this launch
  -h, --help           Print this help
  -V, --version        Print the version

Environment:
  CAR_HOME             State folder, an absolute path [default: ~/.car]
  CONNECTORS_VAULT_PASSPHRASE
                       Protects the vault instead of a key file
  RUST_LOG             What is logged to standard error [default: info]";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// Serve.
    Run(Arguments),
    /// Print this and end.
    Say(String),
}

/// How to serve.
#[derive(Debug, PartialEq)]
pub(crate) struct Arguments {
    pub(crate) port: u16,
    pub(crate) secrets: SecretsChoice,
    pub(crate) auth: bool,
}

/// Reads the command line.
pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut arguments = Arguments { port: DEFAULT_PORT, secrets: SecretsChoice::default(), auth: true };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => arguments.port = parser.value()?.parse()?,
            Long("secrets") => arguments.secrets = parser.value()?.parse()?,
            Long("no-auth") => arguments.auth = false,
            Short('h') | Long("help") => return Ok(Command::Say(HELP.to_owned())),
            Short('V') | Long("version") => {
                return Ok(Command::Say(format!("connectors-daemon {}", env!("CARGO_PKG_VERSION"))));
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Run(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Command, String> {
        parse(lexopt::Parser::from_args(arguments)).map_err(|error| error.to_string())
    }

    fn run(port: u16, secrets: SecretsChoice, auth: bool) -> Result<Command, String> {
        Ok(Command::Run(Arguments { port, secrets, auth }))
    }

    #[test]
    fn without_arguments_the_defaults_hold() {
        assert_eq!(read(&[]), run(9100, SecretsChoice::Auto, true));
    }

    #[test]
    fn every_option_is_read() {
        assert_eq!(
            read(&["--port", "0", "--secrets=vault", "--no-auth"]),
            run(0, SecretsChoice::Vault, false)
        );
        assert_eq!(read(&["--help"]), Ok(Command::Say(HELP.to_owned())));
        assert!(matches!(read(&["-V"]), Ok(Command::Say(text)) if text.starts_with("connectors-daemon ")));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (arguments, named) in [
            (vec!["--port", "70000"], "70000"),
            (vec!["--port"], "--port"),
            (vec!["--secrets", "pocket"], "pocket"),
            (vec!["--verbose"], "--verbose"),
            (vec!["serve"], "serve"),
        ] {
            let error = read(&arguments).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
