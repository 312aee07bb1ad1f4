//! What several runs ran on, and when.

use std::collections::BTreeMap;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::ShardRun;
use crate::report::Host;

/// How many ways in which machines ran are told; each of hundreds of hosts may have its own words for why.
const NAMED: usize = 3;

/// When the first began, and the seconds from then until the last ended.
pub(super) fn span(runs: &[&ShardRun]) -> (String, f64) {
    let spans = runs.iter().filter_map(|run| {
        let began = OffsetDateTime::parse(&run.started, &Rfc3339).ok()?;
        Some((began, began.checked_add(Duration::checked_seconds_f64(run.seconds)?)?))
    });
    let spans: Vec<_> = spans.collect();
    let began = spans.iter().map(|(began, _)| *began).min();
    let ended = spans.iter().map(|(_, ended)| *ended).max();
    let seconds = began.zip(ended).map_or(0.0, |(began, ended)| (ended - began).as_seconds_f64());
    (began.and_then(|began| began.format(&Rfc3339).ok()).unwrap_or_default(), seconds)
}

/// One host in the place of many: what they have together, and where they differ, each of them.
pub(super) fn joined(runs: &[&ShardRun]) -> Host {
    // A part of no trial had none.
    let registries = runs.iter().map(|run| run.host.registry.as_str()).filter(|registry| !registry.is_empty());
    let mut registries: Vec<&str> = registries.collect();
    registries.sort_unstable();
    registries.dedup();
    let (mut said, mut factors) = (BTreeMap::<&String, BTreeMap<&String, usize>>::new(), BTreeMap::new());
    for run in runs {
        for (image, how) in &run.host.acceleration {
            *said.entry(image).or_default().entry(how).or_default() += 1;
        }
        for (image, factor) in &run.host.deadline_factor {
            let most = factors.entry(image.clone()).or_insert(*factor);
            *most = most.max(*factor);
        }
    }
    let told = |hows: BTreeMap<&String, usize>| {
        if let [how] = hows.keys().collect::<Vec<_>>().as_slice() {
            return (**how).clone();
        }
        let mut hows: Vec<(&String, usize)> = hows.into_iter().collect();
        hows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let rest: usize = hows.iter().skip(NAMED).map(|(_, count)| count).sum();
        let each = hows.iter().take(NAMED).map(|(how, count)| format!("{count} × {how}"));
        each.chain((rest > 0).then(|| format!("{rest} × in other ways"))).collect::<Vec<_>>().join("; ")
    };
    Host {
        cores: runs.iter().fold(0, |sum, run| sum.saturating_add(run.host.cores)),
        registry: registries.join(", "),
        acceleration: said.into_iter().map(|(image, hows)| (image.clone(), told(hows))).collect(),
        deadline_factor: factors,
    }
}
