//! What the gateway does to requests on purpose.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Frame};
use hyper::{Response, StatusCode};

use super::gateway::refusal;
use super::server::{Body, BodyError};

/// Something that goes wrong with requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What is asked for, as the timeline names it (`manifest`, `blob`, `ping`); none for anything.
    pub subject: Option<&'static str>,
    /// Only for this repository.
    pub repository: Option<String>,
    /// How many of these requests go well before.
    pub skip: u32,
    /// How many of them it concerns then; none for all.
    pub first: Option<u32>,
    /// What is done to the answer.
    pub effect: Effect,
}

/// What is done to an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effect {
    /// This status in the place of the answer.
    pub answer: Option<u16>,
    /// Time until the answer begins.
    pub delay: Option<Duration>,
    /// Bytes per second that are sent.
    pub bytes_per_second: Option<u64>,
    /// The share of the body, in percent, after which the connection is cut.
    pub cut_at_percent: Option<u8>,
}

impl Effect {
    /// Both, one after the other: delays add up, of two answers, rates or cuts the first counts.
    fn and(self, other: Self) -> Self {
        let delay = self.delay.unwrap_or_default() + other.delay.unwrap_or_default();
        Self {
            answer: self.answer.or(other.answer),
            delay: (!delay.is_zero()).then_some(delay),
            bytes_per_second: self.bytes_per_second.or(other.bytes_per_second),
            cut_at_percent: self.cut_at_percent.or(other.cut_at_percent),
        }
    }

    /// In words; empty for none.
    pub(super) fn describe(self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        if let Some(delay) = self.delay {
            let _ = write!(text, "{} s late, ", delay.as_secs_f64());
        }
        if let Some(status) = self.answer {
            let _ = write!(text, "answered {status}, ");
        }
        if let Some(rate) = self.bytes_per_second {
            let _ = write!(text, "{} KiB/s, ", rate / 1024);
        }
        if let Some(percent) = self.cut_at_percent {
            let _ = write!(text, "cut at {percent} %, ");
        }
        text.trim_end_matches(", ").to_owned()
    }

    /// The refusal that takes the place of the answer.
    pub(super) fn refusal(self) -> Option<Response<Body>> {
        let status = StatusCode::from_u16(self.answer?).ok()?;
        let code = if status == StatusCode::TOO_MANY_REQUESTS { "TOOMANYREQUESTS" } else { "UNKNOWN" };
        Some(refusal(status, code, "the gateway refuses it on purpose"))
    }

    /// The answer's body as it is to be sent.
    pub(super) fn shape(self, body: Body) -> Body {
        if self.bytes_per_second.is_none() && self.cut_at_percent.is_none() {
            return body;
        }
        let length = body.size_hint().exact().unwrap_or(0);
        let cut_at = self.cut_at_percent.map(|percent| length * u64::from(percent) / 100);
        let paced = Paced { body, left: Bytes::new(), sent: 0, rate: self.bytes_per_second, cut_at };
        StreamBody::new(stream::unfold(paced, |mut paced| async {
            let frame = paced.next().await?;
            Some((frame, paced))
        }))
        .boxed()
    }
}

/// A body that is sent slowly, or not to its end.
struct Paced {
    body: Body,
    left: Bytes,
    sent: u64,
    rate: Option<u64>,
    cut_at: Option<u64>,
}

/// How often a slow body sends something.
const BEATS_PER_SECOND: u64 = 10;

impl Paced {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        while self.left.is_empty() {
            match self.body.frame().await? {
                Ok(frame) => self.left = frame.into_data().unwrap_or_default(),
                Err(error) => return Some(Err(error)),
            }
        }
        let mut length = self.left.len();
        if let Some(rate) = self.rate {
            // The pace is what the scenario asks for.
            tokio::time::sleep(Duration::from_millis(1000 / BEATS_PER_SECOND)).await;
            length = length.min(usize::try_from(rate.div_ceil(BEATS_PER_SECOND)).unwrap_or(usize::MAX));
        }
        if let Some(cut_at) = self.cut_at {
            let room = cut_at.saturating_sub(self.sent);
            if room == 0 {
                return Some(Err("the gateway cuts it on purpose".into()));
            }
            length = length.min(usize::try_from(room).unwrap_or(usize::MAX));
        }
        self.sent += length as u64;
        Some(Ok(Frame::data(self.left.split_to(length))))
    }
}

/// The faults of one registry, with what they have struck so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(Fault, AtomicU32)>);

impl Faults {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        Self(faults.into_iter().map(|fault| (fault, AtomicU32::new(0))).collect())
    }

    /// What is done to this request; each call counts as one.
    pub(super) fn strike(&self, subject: &str, repository: &str) -> Effect {
        let concerned = self.0.iter().filter(|(fault, _)| {
            fault.subject.is_none_or(|wanted| wanted == subject)
                && fault.repository.as_ref().is_none_or(|wanted| wanted == repository)
        });
        concerned.fold(Effect::default(), |effect, (fault, count)| {
            let before = count.fetch_add(1, Ordering::Relaxed);
            let end = fault.first.map_or(u32::MAX, |first| fault.skip.saturating_add(first));
            if (fault.skip..end).contains(&before) { effect.and(fault.effect) } else { effect }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::full;
    use super::*;

    fn fault(subject: Option<&'static str>, skip: u32, first: Option<u32>, answer: u16) -> Fault {
        let effect = Effect { answer: Some(answer), ..Effect::default() };
        Fault { subject, repository: None, skip, first, effect }
    }

    #[test]
    fn a_fault_strikes_the_requests_that_it_names() {
        let faults = Faults::new(vec![fault(Some("manifest"), 1, Some(2), 503)]);
        let struck: Vec<_> = (0..5).map(|_| faults.strike("manifest", "a").answer).collect();
        assert_eq!(struck, [None, Some(503), Some(503), None, None]);
        assert_eq!(faults.strike("blob", "a"), Effect::default());
        let mut one = fault(None, 0, None, 429);
        one.repository = Some("a".to_owned());
        let faults = Faults::new(vec![one]);
        assert_eq!((faults.strike("ping", "a").answer, faults.strike("ping", "b").answer), (Some(429), None));
    }

    #[test]
    fn effects_add_up_and_are_told() {
        let slow = Effect { delay: Some(Duration::from_secs(2)), bytes_per_second: Some(2048), ..Effect::default() };
        let both =
            slow.and(Effect { cut_at_percent: Some(50), delay: Some(Duration::from_secs(1)), ..Effect::default() });
        assert_eq!(both.describe(), "3 s late, 2 KiB/s, cut at 50 %");
        assert_eq!(Effect::default().describe(), "");
    }

    #[tokio::test]
    async fn a_body_is_cut_and_slowed() {
        let body = |effect: Effect| effect.shape(full(vec![7_u8; 1000]));
        let mut cut = body(Effect { cut_at_percent: Some(25), ..Effect::default() });
        let first = cut.frame().await.expect("a frame").expect("data").into_data().expect("data");
        assert_eq!(first.len(), 250);
        assert!(cut.frame().await.expect("an end").is_err());
        let began = std::time::Instant::now();
        let slow = body(Effect { bytes_per_second: Some(5000), ..Effect::default() });
        assert_eq!(slow.collect().await.expect("whole").to_bytes().len(), 1000);
        assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    }
}
