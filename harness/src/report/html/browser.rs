//! The page in a real browser. Debian's `chromium` and `chromium-driver` must be there: `cargo xtask ci` brings it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::*;
use crate::checks::fixture::{Node, scenario};
use crate::checks::{Verdict, judge};
use crate::report::{Cpu, Host, RESULTS_VERSION, TrialResult};
use crate::timeline::{JournalRecord, Timeline, What, files};

/// A run on disk: trials that passed, and one that failed.
struct Run {
    dir: tempfile::TempDir,
    results: RunResults,
}

/// Letters that an address has for itself are a trial's like others.
const RED: &str = "power-loss/during-pull[share=50%]@failing";

fn good() -> Timeline {
    Node::pulled_and_loaded().timeline()
}

/// One without the image's module.
fn bad() -> Timeline {
    let mut node = Node::pulled_and_loaded();
    node.ready(2).snapshot.modules.remove("day1_nic");
    node.timeline()
}

/// As `timeline.jsonl` has it.
pub(super) fn lines(timeline: &Timeline) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in &timeline.events {
        serde_json::to_writer(&mut bytes, event.as_ref()).expect("writable");
        bytes.push(b'\n');
    }
    bytes
}

impl Run {
    fn new(trials: usize, timeline: &Timeline) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut results = RunResults {
            version: RESULTS_VERSION,
            day1: "0".into(),
            started: "2026-01-02T03:04:05Z".into(),
            seconds: 100.0,
            host: Host::default(),
            jobs: 1,
            cpu: Cpu::default(),
            part: None,
            shards: Vec::new(),
            trials: Vec::new(),
        };
        let judged = |name: &str, timeline: &Timeline| {
            let judgement = judge(&scenario(), timeline);
            let mut result = TrialResult::new(name, Path::new("x.yaml"), judgement.verdict, None);
            result.findings = judgement.findings;
            result.seconds = 90.0;
            result
        };
        let passed = judged("x", timeline);
        let source = dir.path().join("source");
        fs::write(&source, lines(timeline)).expect("written");
        for number in 0..trials {
            let name = format!("many/trial-{number}@debian-13");
            let own = dir.path().join(&name);
            fs::create_dir_all(&own).expect("created");
            fs::hard_link(&source, own.join(files::TIMELINE)).expect("linked");
            fs::write(own.join(files::SCENARIO), scenario().document.text.as_bytes()).expect("written");
            results.trials.push(TrialResult { trial: name, ..passed.clone() });
        }
        let own = dir.path().join(RED);
        fs::create_dir_all(&own).expect("created");
        fs::write(own.join(files::TIMELINE), lines(&bad())).expect("written");
        fs::write(own.join(files::SCENARIO), scenario().document.text.as_bytes()).expect("written");
        results.trials.push(judged(RED, &bad()));
        assert_eq!(results.trials.last().map(|trial| trial.verdict), Some(Verdict::Fail));
        Self { dir, results }
    }

    fn page(&self, earlier: Option<&RunResults>) -> PathBuf {
        let path = self.dir.path().join(FILE);
        write(&self.results, self.dir.path(), earlier, &path).expect("written");
        path
    }
}

/// Chromium by its WebDriver; both end with it.
struct Browser {
    runtime: Runtime,
    client: Client,
    driver: Child,
}

impl Browser {
    fn start() -> Self {
        let mut command = Command::new("chromedriver");
        command.args(["--port=0", "--log-level=SEVERE"]).stdout(Stdio::piped());
        let mut driver = command.spawn().expect("chromedriver, of Debian's chromium-driver, starts");
        let said = BufReader::new(driver.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let port = said
            .filter_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse::<u16>().ok());
        let port = { port }.next().expect("chromedriver tells its port");
        // Root has no sandbox there; what is shown is the project's own.
        let options = json!({ "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
        let wanted = json!({ "goog:chromeOptions": options }).as_object().cloned().expect("an object");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connecting = async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(wanted).connect(&format!("http://127.0.0.1:{port}")).await
        };
        let client = runtime.block_on(connecting).expect("Chromium starts");
        Self { runtime, client, driver }
    }

    fn open(&self, page: &Path, hash: &str) {
        // The same page with another hash would not be loaded again.
        for address in ["about:blank".to_owned(), format!("file://{}{hash}", page.display())] {
            self.runtime.block_on(self.client.goto(&address)).expect("it opens");
        }
    }

    /// The value of a JavaScript expression.
    fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.runtime.block_on(self.client.execute(&script, vec![])).expect("it has a value")
    }

    /// Waits in the page itself until an expression is true.
    fn until(&self, expression: &str) {
        let script = format!(
            "const done = arguments[0], began = performance.now();
             const look = () => {expression} ? done(true) : performance.now() - began > 20000 ? done(false) : setTimeout(look, 10);
             look();"
        );
        let seen = self.runtime.block_on(self.client.execute_async(&script, vec![])).expect("it ends");
        assert_eq!(seen, Value::Bool(true), "never: {expression}");
    }

    fn press(&self, selector: &str, key: Key) {
        let pressing =
            async { self.client.find(Locator::Css(selector)).await?.send_keys(&String::from(char::from(key))).await };
        self.runtime.block_on(pressing).expect("the key is pressed");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may be gone already, as after a test that failed.
        let _ = self.runtime.block_on(self.client.clone().close());
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

#[test]
#[ignore = "needs Chromium"]
fn a_person_walks_from_red_to_the_evidence() {
    let run = Run::new(3, &good());
    let mut earlier = run.results.clone();
    earlier.trials.retain(|trial| trial.trial != "many/trial-1@debian-13");
    earlier.trials.iter_mut().for_each(|trial| trial.verdict = Verdict::Pass);
    let tab = Browser::start();
    tab.open(&run.page(Some(&earlier)), "");
    // What is red stands first, and says what is wrong.
    let first = tab.value("document.querySelector('.trials tbody tr').textContent");
    let first = first.as_str().expect("text");
    assert!(first.contains("FAIL") && first.contains(RED) && first.contains("module.replaced"), "{first}");
    let changes = tab.value("document.querySelector('.changes').textContent");
    let changes = changes.as_str().expect("text");
    assert!(changes.contains("1 broken") && changes.contains("1 new"), "{changes}");
    // By keyboard alone: its link is focused and entered.
    tab.press(".trials tbody tr a", Key::Enter);
    tab.until("document.activeElement.id === 'trial-heading'");
    // The finding's evidence leads to its line.
    let evidence = "document.querySelector('.findings li.fail .evidence a')";
    let seq = tab.value(&format!("{evidence}.dataset.seq"));
    let seq = seq.as_str().expect("a number").to_owned();
    tab.value(&format!("{evidence}.click()"));
    tab.until(&format!("document.activeElement.dataset.row === '{seq}'"));
    assert_eq!(tab.value("document.activeElement.classList.contains('aim')"), Value::Bool(true));
    // The picture is there, and back is where it began.
    assert_ne!(tab.value("document.querySelectorAll('#trial svg .load').length"), Value::from(0));
    tab.value("document.querySelector('.skip').click()");
    assert_eq!(tab.value("document.querySelector('#trial').hidden"), Value::Bool(false), "the content is the trial");
    tab.value("location.hash = ''");
    tab.until("!document.querySelector('#overview').hidden");
    tab.until(&format!("document.activeElement.textContent === '{RED}'"));
}

#[test]
#[ignore = "needs Chromium"]
fn the_log_is_searched_and_filtered() {
    let run = Run::new(1, &good());
    let tab = Browser::start();
    tab.open(&run.page(None), "#/many/trial-0@debian-13");
    tab.until("document.querySelectorAll('#log tbody tr').length > 0");
    let set = |name: &str, with: &str| {
        let input = format!("document.querySelector('#log [name={name}]')");
        tab.value(&format!("{input}.value = '{with}', {input}.dispatchEvent(new Event('input', {{bubbles: true}}))"));
    };
    let output = "document.querySelector('#log output').textContent";
    let all = tab.value(output);
    set("text", "day1_nic");
    tab.until(&format!("{output} !== '{}'", all.as_str().expect("text")));
    let texts = "[...document.querySelectorAll('#log tbody tr')].map((row) => row.cells[3].textContent.toLowerCase())";
    assert_eq!(
        tab.value(&format!("{texts}.length > 0 && {texts}.every((text) => text.includes('day1_nic'))")),
        Value::Bool(true)
    );
    set("text", "/^no such line$/");
    tab.until(&format!("{output}.startsWith('0 of')"));
    set("text", "/(/");
    tab.until(&format!("{output}.includes('no regular expression')"));
    set("text", "");
    set("boot", "2");
    tab.until("document.querySelectorAll('#log tbody tr').length > 0");
    let boots = "new Set([...document.querySelectorAll('#log tbody tr')].map((row) => row.cells[1].textContent))";
    assert_eq!(tab.value(&format!("[...{boots}].join()")), Value::from("2"));
}

#[test]
#[ignore = "needs Chromium"]
fn light_and_dark_can_be_chosen_and_nothing_is_fetched() {
    let run = Run::new(1, &good());
    let tab = Browser::start();
    tab.open(&run.page(None), "");
    let ground = || tab.value("getComputedStyle(document.body).backgroundColor");
    let before = ground();
    tab.value("document.querySelector('#theme').click()");
    assert_ne!(ground(), before);
    let fetched = tab.value("performance.getEntriesByType('resource').length");
    assert_eq!(fetched, Value::from(0));
}

/// 500 trials and 100 MB of journals: the page is there, and can be used, in about a second.
#[test]
#[ignore = "needs Chromium"]
fn five_hundred_trials_open_at_once() {
    const TRIALS: usize = 500;
    const JOURNAL_BYTES: usize = 100_000_000 / TRIALS;
    let mut node = Node::pulled_and_loaded();
    let (mut bytes, mut number) = (0, 0_u64);
    while bytes < JOURNAL_BYTES {
        number += 1;
        // What no two lines have in common is what packs badly.
        let text = format!(
            "line {number} of a unit that says {:032x}",
            u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
        );
        bytes += text.len();
        let fields =
            [("MESSAGE", text), ("SYSLOG_IDENTIFIER", "talker".into()), ("_SYSTEMD_UNIT", "talker.service".into())];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        node.boot(2).push(What::Journal(JournalRecord { initramfs: false, fields }));
    }
    let run = Run::new(TRIALS, &node.timeline());
    let page = run.page(None);
    let size = fs::metadata(&page).expect("there").len();
    let tab = Browser::start();
    let began = Instant::now();
    tab.open(&page, "");
    tab.until(&format!("document.querySelectorAll('.trials tbody tr').length === {}", TRIALS + 1));
    let opened = began.elapsed();
    // No more than the list was made, however much there is to each trial.
    let elements = tab.value("document.querySelectorAll('*').length").as_u64().expect("a number");
    assert!(elements < 20 * TRIALS as u64, "{elements} elements");
    let began = Instant::now();
    tab.value("location.hash = '#/many/trial-250@debian-13'");
    tab.until("document.querySelectorAll('#log tbody tr').length > 100");
    let entered = began.elapsed();
    println!("{TRIALS} trials, {} MB of page: opened in {opened:?}, a trial in {entered:?}", size / 1_000_000);
    // What it took is for a person to read: hosts differ. Many times that is a defect anywhere.
    assert!(opened < Duration::from_secs(20), "{opened:?}");
    assert!(entered < Duration::from_secs(20), "{entered:?}");
}
