//! Ratios of runs of the same round, and their medians.

use crate::contender::Cost;

/// What of a cost is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    Wall,
    Cpu,
    Memory,
}

impl Quantity {
    pub(super) fn of(self, cost: &Cost) -> f64 {
        match self {
            Self::Wall => cost.wall,
            Self::Cpu => cost.cpu,
            Self::Memory => cost.memory,
        }
    }
}

/// Median and quartiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * values.len().saturating_sub(1) as f64;
            let below = values.get(place.floor() as usize).copied().unwrap_or(f64::NAN);
            let above = values.get(place.ceil() as usize).copied().unwrap_or(f64::NAN);
            below + (above - below) * place.fract()
        };
        Self { low: at(0.25), median: at(0.5), high: at(0.75) }
    }
}

/// The costs of one row.
pub(super) struct Samples {
    /// Place of the bare loop's second run in a round.
    again: usize,
    rounds: Vec<Vec<Cost>>,
}

impl Samples {
    pub(super) fn new(contenders: usize) -> Self {
        Self { again: contenders.div_ceil(2) + 1, rounds: Vec::new() }
    }

    /// Adds the costs of one round, in the order of `interleaved`.
    pub(super) fn add(&mut self, costs: &[Cost]) {
        self.rounds.push(costs.to_vec());
    }

    /// The bare loop's cost.
    pub(super) fn bare(&self, quantity: Quantity) -> Spread {
        Spread::of(self.rounds.iter().map(|round| self.bare_in(round, quantity)).collect())
    }

    /// The bare loop's second run of a round in parts of its first: what the noise does to a ratio.
    pub(super) fn noise(&self, quantity: Quantity) -> Spread {
        let ratio = |round: &Vec<Cost>| quantity.of(&round[self.again]) / quantity.of(&round[0]);
        Spread::of(self.rounds.iter().map(ratio).collect())
    }

    /// A contender's cost in parts of the bare loop's in the same round.
    pub(super) fn ratio(&self, contender: usize, quantity: Quantity) -> Spread {
        let place = if contender + 1 < self.again { contender + 1 } else { contender + 2 };
        let ratio = |round: &Vec<Cost>| quantity.of(&round[place]) / self.bare_in(round, quantity);
        Spread::of(self.rounds.iter().map(ratio).collect())
    }

    fn bare_in(&self, round: &[Cost], quantity: Quantity) -> f64 {
        f64::midpoint(quantity.of(&round[0]), quantity.of(&round[self.again]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(walls: &[f64]) -> Vec<Cost> {
        walls.iter().map(|wall| Cost { wall: *wall, ..Cost::default() }).collect()
    }

    #[test]
    fn each_contender_is_compared_with_the_bare_runs_of_its_round() {
        let mut samples = Samples::new(2);
        samples.add(&costs(&[1.0, 2.0, 3.0, 8.0]));
        samples.add(&costs(&[2.0, 8.0, 2.0, 4.0]));
        samples.add(&costs(&[4.0, 4.0, 4.0, 4.0]));
        let medians = [0, 1].map(|contender| samples.ratio(contender, Quantity::Wall).median);
        assert_eq!(medians, [1.0, 2.0]);
        assert_eq!(samples.noise(Quantity::Wall), Spread { low: 1.0, median: 1.0, high: 2.0 });
    }
}
