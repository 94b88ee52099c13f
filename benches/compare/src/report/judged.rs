//! Goals against what was measured.

use crate::contender::Kind;
use crate::rounds::Value;
use crate::row::{Against, Bar, Better, Figure, Goal, Spec};
use crate::statistics::{Spread, ratios};

/// A goal and how far it was reached.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// What is divided by what.
    pub(super) what: String,
    pub(super) bar: Bar,
    /// Of the rounds; `None` if a side was not measured.
    pub(super) reached: Option<Spread>,
}

impl Judged {
    pub(super) fn verdict(&self) -> &'static str {
        match self.reached.and_then(|reached| self.bar.holds(reached.median)) {
            Some(true) => "reached",
            Some(false) => "**missed**",
            None if self.reached.is_none() => "not measured",
            None => "",
        }
    }
}

pub(super) fn judge(spec: &Spec, goal: &Goal, values: &[Value]) -> Judged {
    let (entry, figure) = &goal.ours;
    let ours = of_rounds(values, entry, figure);
    let (what, reached) = match &goal.against {
        Against::Itself => {
            let all: Vec<f64> = ours.into_iter().flatten().collect();
            let unit = figure_of(spec, figure).map_or("", |figure| figure.unit);
            (format!("{figure} of {entry}, {unit}"), Spread::of(&all))
        }
        Against::Entry(other, of) => {
            let what = if other == entry {
                format!("{figure} / {of} of {entry}")
            } else if of == figure {
                format!("{entry} / {other}, {figure}")
            } else {
                format!("{figure} of {entry} / {of} of {other}")
            };
            (what, Spread::of(&ratios(&ours, &of_rounds(values, other, of))))
        }
        Against::BestPeer(of) => match best_peer(spec, values, of) {
            Some(peer) => {
                let reached = Spread::of(&ratios(&ours, &of_rounds(values, &peer, of)));
                (format!("{entry} / best peer ({peer}), {of}"), reached)
            }
            None => (format!("{entry} / best peer, {of}"), None),
        },
    };
    Judged { what, bar: goal.bar, reached }
}

/// A figure of an entry, by round; `None` where it has none.
pub(super) fn of_rounds(values: &[Value], entry: &str, figure: &str) -> Vec<Option<f64>> {
    let rounds = values.iter().map(|value| value.round + 1).max().unwrap_or(0);
    let mut found = vec![None; rounds];
    for value in values.iter().filter(|value| value.entry == entry && value.figure == figure) {
        found[value.round] = Some(value.value);
    }
    found
}

/// Names of entries in the order in which they were listed.
pub(super) fn entries(values: &[Value]) -> Vec<(String, Kind)> {
    let mut first_round: Vec<&Value> = values.iter().filter(|value| value.round == 0).collect();
    first_round.sort_by_key(|value| value.turn);
    let mut entries: Vec<(String, Kind)> = Vec::new();
    for value in first_round.into_iter().chain(values) {
        if !entries.iter().any(|(name, _)| *name == value.entry) {
            entries.push((value.entry.clone(), value.kind));
        }
    }
    entries
}

fn best_peer(spec: &Spec, values: &[Value], figure: &str) -> Option<String> {
    let better = figure_of(spec, figure).map_or(Better::Higher, |figure| figure.better);
    let peers = entries(values).into_iter().filter(|(_, kind)| *kind == Kind::Peer);
    let medians = peers.filter_map(|(name, _)| {
        let measured: Vec<f64> = of_rounds(values, &name, figure).into_iter().flatten().collect();
        Some((name, Spread::of(&measured)?.median))
    });
    let sign = if better == Better::Higher { 1.0 } else { -1.0 };
    medians.max_by(|(_, a), (_, b)| (a * sign).total_cmp(&(b * sign))).map(|(name, _)| name)
}

fn figure_of(spec: &Spec, name: &str) -> Option<Figure> {
    spec.figures.iter().copied().find(|figure| figure.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{RATE, at_least_of_best_peer, at_least_of_floor};

    fn spec() -> Spec {
        Spec {
            name: "row".into(),
            title: String::new(),
            figures: vec![RATE],
            goals: Vec::new(),
            build: Box::new(|_| Ok(Vec::new())),
        }
    }

    fn values(of: &[(&str, Kind, &[f64])]) -> Vec<Value> {
        let mut values = Vec::new();
        for (turn, (entry, kind, rates)) in of.iter().enumerate() {
            for (round, value) in rates.iter().enumerate() {
                values.push(Value {
                    row: "row".into(),
                    entry: (*entry).into(),
                    kind: *kind,
                    round,
                    turn,
                    figure: "rate".into(),
                    value: *value,
                });
            }
        }
        values
    }

    #[test]
    fn the_best_peer_is_the_one_of_the_best_median() {
        let values = values(&[
            ("stratalog", Kind::Ours, &[10.0, 20.0, 30.0]),
            ("floor", Kind::Floor, &[99.0, 99.0, 99.0]),
            ("lucky", Kind::Peer, &[1.0, 1.0, 90.0]),
            ("steady", Kind::Peer, &[5.0, 5.0, 5.0]),
        ]);
        let judged = judge(&spec(), &at_least_of_best_peer(1.1), &values);
        assert!(judged.what.contains("steady"), "{}", judged.what);
        assert_eq!(judged.reached.unwrap(), Spread { median: 4.0, least: 2.0, most: 6.0 });
        assert_eq!(judged.verdict(), "reached");
    }

    #[test]
    fn a_goal_that_is_missed_says_so() {
        let values = values(&[
            ("stratalog", Kind::Ours, &[9.0, 9.0, 9.0]),
            ("floor", Kind::Floor, &[10.0, 10.0, 10.0]),
        ]);
        assert_eq!(judge(&spec(), &at_least_of_floor("floor", 0.95), &values).verdict(), "**missed**");
        assert_eq!(judge(&spec(), &at_least_of_floor("floor", 0.9), &values).verdict(), "reached");
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        let only_ours = values(&[("stratalog", Kind::Ours, &[9.0])]);
        assert_eq!(judge(&spec(), &at_least_of_best_peer(1.0), &only_ours).verdict(), "not measured");
        assert_eq!(judge(&spec(), &at_least_of_floor("floor", 1.0), &[]).verdict(), "not measured");
    }

    #[test]
    fn a_value_by_itself_is_judged_by_its_median() {
        let values = values(&[("stratalog", Kind::Ours, &[3.0, 9.0, 4.0])]);
        let goal = Goal::of("stratalog", "rate", Against::Itself, Bar::AtMost(4.0));
        assert_eq!(judge(&spec(), &goal, &values).verdict(), "reached");
    }
}
