//! The connectors daemon: `connectors.*` over a WebSocket on loopback, and the panel.

mod arguments;
mod signals;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use connectors_ws::auth::{Token, TokenFile, TokenFileError, token_path};
use connectors_ws::compose::{self, StartError};
use connectors_ws::{Dispatcher, Server};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use arguments::{Arguments, Command};

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_LOG: &str = "warn,connectors_core=info,connectors_http=info,connectors_oauth=info,\
    connectors_stdio=info,connectors_store=info,connectors_ws=info,connectors_daemon=info";

/// Why the daemon ends with a failure.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot listen on 127.0.0.1:{port}: {source}{}", hint(.source))]
    Bind { port: u16, source: io::Error },
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    TokenFile(#[from] TokenFileError),
    #[error("cannot go on: {0}")]
    Runtime(#[from] io::Error),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program uses this port, perhaps another daemon: end it, or start with `--port N` (0 picks one)"
        }
        _ => "",
    }
}

fn main() -> ExitCode {
    let arguments = match arguments::parse(lexopt::Parser::from_env()) {
        Ok(Command::Run(arguments)) => arguments,
        Ok(Command::Say(text)) => {
            let _ = writeln!(io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "connectors-daemon: {error}\nTry `connectors-daemon --help`.");
            return ExitCode::from(2);
        }
    };
    log_to_stderr();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "connectors-daemon: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr() {
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|wanted| !wanted.trim().is_empty());
    let filter = wanted.and_then(|wanted| EnvFilter::try_new(wanted).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(DEFAULT_LOG));
    let ansi = io::IsTerminal::is_terminal(&io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(ansi);
    tracing_subscriber::registry().with(filter).with(filter_fn(may_be_logged)).with(lines).init();
}

/// Libraries that are not heard below `info`, whatever is asked for: the WebSocket's logs every message, with the secrets in its
/// parameters, and the file system's every change of a folder, which never ends where the log is in such a folder.
const HUSHED: [&str; 4] = ["tungstenite", "tokio_tungstenite", "notify", "inotify"];

fn may_be_logged(metadata: &tracing::Metadata<'_>) -> bool {
    let library = metadata.target().split("::").next().unwrap_or_default();
    !HUSHED.contains(&library) || *metadata.level() <= tracing::Level::INFO
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(arguments));
    // A keychain that still waits for its user must not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn serve(arguments: &Arguments) -> Result<(), Failure> {
    let port = arguments.port;
    let token_path = token_path()?;
    let stop = signals::stop()?;
    // First of all: a second daemon on this port must neither start servers nor replace the first one's token.
    let server = Server::bind(port).await.map_err(|source| Failure::Bind { port, source })?;
    let dispatcher = compose::start(arguments.secrets).await?;
    if !arguments.auth {
        tracing::warn!(
            "clients need no token (--no-auth): any program on this machine can use the connectors"
        );
        announce(server.port());
        return Ok(server.serve(dispatcher, None, stop).await?);
    }
    let token = Arc::new(Token::generate());
    let token_file = match TokenFile::write(token_path, &token) {
        Ok(file) => file,
        Err(error) => return Err(end(&dispatcher, error).await),
    };
    announce(server.port());
    let outcome = server.serve(dispatcher, Some(Arc::clone(&token)), stop).await;
    token_file.remove(&token);
    Ok(outcome?)
}

/// Ends what has been started already.
async fn end(dispatcher: &Dispatcher, error: TokenFileError) -> Failure {
    dispatcher.shutdown().await;
    error.into()
}

/// The first line on stdout: whoever started the daemon waits for it.
fn announce(port: u16) {
    let mut stdout = io::stdout().lock();
    // Nobody may be reading.
    let _ = writeln!(stdout, "listening on http://127.0.0.1:{port}/").and_then(|()| stdout.flush());
}
