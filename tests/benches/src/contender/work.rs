//! Doing jobs, the same way for every contender.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::json;

use super::job::{Cost, Job, Meter, resident};
use super::{Connection, Contender};

pub(super) struct Worker<C: Contender> {
    contender: C,
    /// The connection that calls go over, kept from job to job.
    current: Option<(String, Arc<C::Connection>)>,
}

impl<C: Contender> Worker<C> {
    pub(super) fn new(contender: C) -> Self {
        Self { contender, current: None }
    }

    pub(super) async fn run(&mut self, job: Job) -> Result<Cost> {
        match job {
            Job::Calls { url, count, in_flight, bytes } => self.calls(&url, count, in_flight, bytes).await,
            Job::Lists { url, count, tools } => self.lists(&url, count, tools).await,
            Job::Idle { urls, tools } => self.idle(&urls, tools).await,
        }
    }

    async fn calls(&mut self, url: &str, count: usize, in_flight: usize, bytes: usize) -> Result<Cost> {
        let connection = match &self.current {
            Some((connected, connection)) if connected == url => Arc::clone(connection),
            _ => {
                let connection = Arc::new(self.contender.connect(url).await?);
                self.current = Some((url.to_owned(), Arc::clone(&connection)));
                connection
            }
        };
        // Opens the connections and touches the memory that the calls will use.
        call_many(&connection, in_flight + count / 20, in_flight, bytes).await?;
        let meter = Meter::start();
        call_many(&connection, count, in_flight, bytes).await?;
        Ok(meter.stop())
    }

    async fn lists(&self, url: &str, count: usize, tools: usize) -> Result<Cost> {
        self.connected(url, tools).await?.close().await?;
        let mut meter = Meter::start();
        meter.pause();
        for _ in 0..count {
            meter.resume();
            let connection = self.connected(url, tools).await?;
            meter.pause();
            connection.close().await?;
        }
        Ok(meter.cost())
    }

    async fn idle(&self, urls: &[String], tools: usize) -> Result<Cost> {
        let mut connections = Vec::with_capacity(urls.len());
        let Some((first, others)) = urls.split_first() else { return Ok(Cost::default()) };
        // Whatever a process has but once.
        connections.push(self.connected(first, tools).await?);
        let before = resident()?;
        let meter = Meter::start();
        for url in others {
            connections.push(self.connected(url, tools).await?);
        }
        let mut cost = meter.stop();
        // Until the last of their background tasks waits.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        cost.memory = resident()? - before;
        Ok(cost)
    }

    async fn connected(&self, url: &str, tools: usize) -> Result<C::Connection> {
        let connection = self.contender.connect(url).await?;
        ensure!(connection.tools() == tools, "{} tools were listed instead of {tools}", connection.tools());
        Ok(connection)
    }
}

async fn call_many<C: Connection>(
    connection: &Arc<C>,
    count: usize,
    in_flight: usize,
    bytes: usize,
) -> Result<()> {
    if in_flight == 1 {
        return call_in_turn(connection, count, bytes).await;
    }
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let connection = Arc::clone(connection);
            tokio::spawn(async move { call_in_turn(&connection, count.div_ceil(in_flight), bytes).await })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn call_in_turn<C: Connection>(connection: &Arc<C>, count: usize, bytes: usize) -> Result<()> {
    for _ in 0..count {
        let size = connection.call(json!({"query": "x"})).await?;
        ensure!(size >= bytes, "a result of {size} bytes instead of {bytes}");
    }
    Ok(())
}
