//! What the tests share: messages, definitions, the scripted peer over streams and as a process.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::sync::Arc;

use connectors_core::contract::transport::{PeerAction, ScriptedPeer};
use connectors_core::protocol::{Incoming, RequestId};
use connectors_core::transport::{DialTarget, Mirror, OutgoingNotification, OutgoingRequest};
use connectors_core::{
    ConnectorDefinition, Dialer, Limits, SecretVariable, Slug, StaticHeaders, StdioCommand, Transport,
    TransportError,
};
use connectors_stdio::StdioDialer;
use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

/// Makes this test executable play a part when it is started again; see [`myself`].
pub(crate) const PART: &str = "CONNECTORS_TEST_PART";

/// A request without parameters.
pub(crate) fn request(id: i64, method: &'static str) -> OutgoingRequest {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#);
    OutgoingRequest {
        id: RequestId::Number(id),
        method: method.into(),
        body: body.into(),
        mirror: Mirror::default(),
    }
}

/// A notification with a text of `bytes` bytes.
pub(crate) fn note(bytes: usize) -> OutgoingNotification {
    let body = format!(r#"{{"jsonrpc":"2.0","method":"note","params":{{"text":"{}"}}}}"#, "x".repeat(bytes));
    OutgoingNotification { method: Some("note".into()), body: body.into(), mirror: Mirror::default() }
}

/// The result of one exchange, as it was written.
pub(crate) async fn result(wire: &dyn Transport, request: OutgoingRequest) -> Result<String, TransportError> {
    let answer = wire.exchange(request).await?.next().await.expect("a reply has an end")?;
    let Incoming::Response { outcome: Ok(result), .. } = answer else { panic!("{answer:?}") };
    Ok(result.get().to_owned())
}

/// A definition of a local server.
pub(crate) fn definition(command: &str, args: &[&str], env: &[(&str, &str)]) -> ConnectorDefinition {
    let stdio = StdioCommand {
        command: command.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        ..StdioCommand::default()
    };
    ConnectorDefinition::stdio(Slug::from_name("local"), "Local", stdio)
}

/// Starts a definition's server.
pub(crate) async fn dial(
    definition: ConnectorDefinition,
    limits: Limits,
) -> Result<Arc<dyn Transport>, TransportError> {
    dial_with(definition, limits, &[]).await
}

/// The same, with variables whose values are secrets.
pub(crate) async fn dial_with(
    definition: ConnectorDefinition,
    limits: Limits,
    secret: &[(&str, &str)],
) -> Result<Arc<dyn Transport>, TransportError> {
    let authorizer = Arc::new(StaticHeaders::default());
    let target = DialTarget::new(
        Arc::new(definition),
        authorizer,
        Arc::new(limits),
        connectors_core::Trace::default(),
    );
    let secret = secret.iter().map(|(name, value)| SecretVariable::new(*name, *value)).collect();
    StdioDialer::new().dial(target.with_environment(secret)).await
}

/// Starts a shell script as a server.
pub(crate) async fn sh(script: &str) -> Arc<dyn Transport> {
    dial(definition("sh", &["-c", script], &[]), Limits::default()).await.unwrap()
}

/// This executable, running `test`, which has to look for its [`PART`].
pub(crate) fn myself(test: &str, part: &str) -> ConnectorDefinition {
    let executable = std::env::current_exe().unwrap();
    definition(executable.to_str().unwrap(), &["--exact", test, "--nocapture"], &[(PART, part)])
}

/// Plays the scripted peer over streams.
pub(crate) async fn play(reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin) {
    let mut peer = ScriptedPeer::default();
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        for action in peer.receive(line.as_bytes()) {
            let PeerAction::Send { message, .. } = action else { return };
            if writer.write_all(format!("{message}\n").as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Plays the scripted peer over this process's standard streams.
pub(crate) fn play_as_process() -> ! {
    let mut peer = ScriptedPeer::default();
    let mut out = std::io::stdout().lock();
    // The test harness has begun a line.
    out.write_all(b"\n").unwrap();
    for line in std::io::stdin().lock().lines() {
        for action in peer.receive(line.unwrap().as_bytes()) {
            let PeerAction::Send { message, .. } = action else { std::process::exit(3) };
            out.write_all(format!("{message}\n").as_bytes()).unwrap();
            out.flush().unwrap();
        }
    }
    std::process::exit(0)
}
