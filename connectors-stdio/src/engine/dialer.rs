//! Choosing the engine for a connector.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::sync::Arc;

use async_trait::async_trait;
use connectors_core::transport::{DialTarget, InvalidDefinition};
use connectors_core::{ConnectorDefinition, Dialer, Transport, TransportError};

use super::lifeline::Lifeline;
use super::transport::{EngineTransport, Start};
use crate::dialer::{StdioDialer, prepared};
use crate::process::Program;
use crate::{environment, lookup};

/// Has the servers of those definitions that ask for it ([`ConnectorDefinition::engine`]) handled by `car_engine::McpServer`.
///
/// To be given to the manager before [`StdioDialer`], which takes the others. Commands, arguments and variables mean the same as
/// there, and no process outlives this program either; [`EngineTransport`] says what is less.
#[derive(Debug, Clone, Default)]
pub struct EngineDialer {
    all: bool,
}

impl EngineDialer {
    /// A dialer for the definitions that ask for it.
    pub fn new() -> Self {
        Self::default()
    }

    /// A dialer for every local server.
    pub fn for_all() -> Self {
        Self { all: true }
    }
}

#[async_trait]
impl Dialer for EngineDialer {
    fn serves(&self, definition: &ConnectorDefinition) -> bool {
        definition.stdio.is_some() && (self.all || definition.engine)
    }

    fn check(&self, definition: &ConnectorDefinition) -> Result<(), InvalidDefinition> {
        StdioDialer::new().check(definition)
    }

    async fn dial(&self, target: DialTarget) -> Result<Arc<dyn Transport>, TransportError> {
        let (program, redactor) = prepared(&target)?;
        let lifeline = Lifeline::new().map_err(|error| TransportError::NotStarted {
            reason: format!("no pipe: {error}"),
            source: Some(Box::new(error)),
        })?;
        let start = start(&target.definition, &program, &lifeline)?;
        Ok(Arc::new(EngineTransport::new(start, redactor, lifeline, &target.limits)))
    }
}

/// What the engine is to start: the program, in a session of its own, with a guard beside it and only the variables that it is
/// to have. The engine itself would hand on all of this program's.
fn start(
    definition: &ConnectorDefinition,
    program: &Program,
    lifeline: &Lifeline,
) -> Result<Start, TransportError> {
    let path = environment::value(&program.environment, "PATH");
    let setsid = lookup::find("setsid", path, &[])?;
    let text = |text: &std::path::Path| text.to_str().map(str::to_owned).ok_or_else(not_unicode);
    let mut args = lifeline.prologue();
    args.push("env".to_owned());
    let kept: HashSet<&OsString> = program.environment.iter().map(|(name, _)| name).collect();
    let foreign = std::env::vars_os().map(|(name, _)| name).filter(|name| !kept.contains(name));
    for name in foreign.filter_map(|name| name.into_string().ok()) {
        args.extend(["-u".to_owned(), name]);
    }
    // A program whose path holds a `=` is no variable.
    args.extend(["/bin/sh", "-c", r#"exec "$0" "$@""#].map(str::to_owned));
    args.push(text(&program.file)?);
    args.extend(program.args.iter().cloned());
    let env: HashMap<String, String> = program
        .environment
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned())))
        .collect();
    let cwd = program.folder.as_deref().map(text).transpose()?;
    Ok(Start { name: definition.slug.to_string(), command: text(&setsid)?, args, env, cwd })
}

fn not_unicode() -> TransportError {
    let reason = "the path of the command is not Unicode, which the engine cannot start".to_owned();
    TransportError::NotStarted { reason, source: None }
}
