//! What a link does to the frames that go over it.

use std::time::{Duration, Instant};

/// A node's link to the switch, the same both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether every frame is lost, while the card still sees its carrier.
    pub cut: bool,
    /// How long a frame is on its way.
    pub delay: Duration,
    /// How many bytes a second it carries; none for no limit.
    pub bytes_per_second: Option<u64>,
}

/// One direction of a link.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// When the last frame is on it whole.
    free: Option<Instant>,
}

impl Wire {
    /// When a frame that comes now arrives; none where it is lost.
    pub(super) fn arrives(&mut self, link: &Link, length: usize, now: Instant) -> Option<Instant> {
        if link.cut {
            return None;
        }
        let mut sent = now;
        if let Some(rate) = link.bytes_per_second.filter(|rate| *rate > 0) {
            #[expect(clippy::cast_precision_loss, reason = "a frame's length, and a rate of a test")]
            let takes = Duration::from_secs_f64(length as f64 / rate as f64);
            sent = self.free.map_or(now, |free| free.max(now)) + takes;
        }
        self.free = Some(sent);
        Some(sent + link.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_link_loses_everything_and_a_plain_one_nothing() {
        let now = Instant::now();
        assert_eq!(Wire::default().arrives(&Link { cut: true, ..Link::default() }, 100, now), None);
        assert_eq!(Wire::default().arrives(&Link::default(), 100, now), Some(now));
    }

    #[test]
    fn a_slow_link_takes_one_frame_after_the_other_and_delays_each() {
        let (now, ms) = (Instant::now(), Duration::from_millis);
        let link = Link { delay: ms(50), bytes_per_second: Some(1000), ..Link::default() };
        let mut wire = Wire::default();
        assert_eq!(wire.arrives(&link, 100, now), Some(now + ms(150)));
        assert_eq!(wire.arrives(&link, 100, now), Some(now + ms(250)));
        assert_eq!(wire.arrives(&link, 100, now + ms(1000)), Some(now + ms(1150)));
        // What was slow and is no more carries on at once.
        assert_eq!(wire.arrives(&Link::default(), 100, now + ms(1001)), Some(now + ms(1001)));
    }
}
