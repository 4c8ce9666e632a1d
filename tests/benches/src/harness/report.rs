//! The table.

use std::fmt::Write;
use std::time::Duration;

use super::machine;
use super::rows::{Row, Unit};
use super::stats::{Quantity, Samples, Spread};

/// A row that was measured.
pub(super) struct Finished {
    pub(super) row: Row,
    pub(super) samples: Samples,
}

/// The report as Markdown.
pub(super) fn markdown(rows: &[Finished], contenders: &[&str], took: Duration, quick: bool) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, rows, contenders, took, quick);
    text
}

fn write(
    text: &mut String,
    rows: &[Finished],
    contenders: &[&str],
    took: Duration,
    quick: bool,
) -> std::fmt::Result {
    writeln!(text, "{}; {:.0} s in all.", machine::describe(), took.as_secs_f64())?;
    if quick {
        writeln!(text, "\nA quick run: it shows that everything runs, and measures nothing.")?;
    }
    write!(text, "\n| | bare | bare again |")?;
    for contender in contenders {
        write!(text, " {contender} |")?;
    }
    writeln!(text, "\n|---|---|---|{}", "---|".repeat(contenders.len()))?;
    for Finished { row, samples } in rows {
        line(text, row, samples, contenders.len(), row.unit.quantity())?;
        if matches!(row.unit, Unit::PerCall { .. } | Unit::PerList { .. }) {
            line(text, row, samples, contenders.len(), Quantity::Cpu)?;
        }
    }
    Ok(())
}

fn line(
    text: &mut String,
    row: &Row,
    samples: &Samples,
    contenders: usize,
    quantity: Quantity,
) -> std::fmt::Result {
    let note = if quantity == Quantity::Cpu { ": CPU" } else { "" };
    let bare = row.unit.show(samples.bare(quantity).median);
    write!(text, "| {}{note} | {bare} |", row.name)?;
    cell(text, samples.noise(quantity), row.unit)?;
    for contender in 0..contenders {
        cell(text, samples.ratio(contender, quantity), row.unit)?;
    }
    writeln!(text)
}

/// The median, and the quartiles beside it.
fn cell(text: &mut String, ratio: Spread, unit: Unit) -> std::fmt::Result {
    let Spread { mut low, mut median, mut high } = ratio;
    if unit.is_speed() {
        (low, median, high) = (1.0 / high, 1.0 / median, 1.0 / low);
    }
    write!(text, " {median:.2} ({low:.2} to {high:.2}) |")
}
