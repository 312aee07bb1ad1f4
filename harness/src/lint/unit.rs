//! A unit file with its drop-ins, read as systemd reads it (`src/shared/conf-parser.c`).

use super::report::{Findings, Place};
use super::rules::{LINE_CONTINUATION, UNIT_SYNTAX};
use super::source::Text;

/// All assignments of a unit, those of its drop-ins last.
#[derive(Debug, Clone, Default)]
pub(super) struct UnitFile {
    pub(super) sections: Vec<Section>,
    pub(super) settings: Vec<Setting>,
}

/// The head of a section.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) place: Place,
}

/// One assignment.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) section: String,
    pub(super) key: String,
    /// Continued lines are joined by a blank.
    pub(super) value: String,
    /// Where the key stands.
    pub(super) place: Place,
    /// The text that it stands in, and the line and column of the value.
    pub(super) text: Text,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Setting {
    pub(super) fn value_place(&self) -> Place {
        self.text.place(self.line, self.column)
    }

    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.value.split_whitespace().map(|word| word.trim_matches(['"', '\'']))
    }
}

impl UnitFile {
    /// The assignments of a key that hold: an empty one takes those before it away.
    pub(super) fn all(&self, section: &str, key: &str) -> impl Iterator<Item = &Setting> {
        let of_key = move |setting: &&Setting| setting.section == section && setting.key == key;
        let reset = self.settings.iter().filter(of_key).filter(|setting| setting.value.is_empty()).count();
        let mut seen = 0;
        self.settings.iter().filter(of_key).filter(move |setting| {
            seen += usize::from(setting.value.is_empty());
            seen == reset && !setting.value.is_empty()
        })
    }

    /// The assignment of a key that holds.
    pub(super) fn last(&self, section: &str, key: &str) -> Option<&Setting> {
        self.all(section, key).last()
    }

    /// The value of a key.
    pub(super) fn value(&self, section: &str, key: &str) -> Option<&str> {
        self.last(section, key).map(|setting| setting.value.as_str())
    }

    /// The words of a list.
    pub(super) fn words(&self, section: &str, key: &str) -> impl Iterator<Item = (&str, &Setting)> {
        self.all(section, key).flat_map(|setting| setting.words().map(move |word| (word, setting)))
    }

    /// Whether a list in [Unit] has this word.
    pub(super) fn names(&self, key: &str, word: &str) -> bool {
        self.words("Unit", key).any(|(found, _)| found == word)
    }

    /// Whether it pulls this unit in.
    pub(super) fn pulls_in(&self, unit: &str) -> bool {
        ["Wants", "Requires", "BindsTo", "Upholds"].iter().any(|key| self.names(key, unit))
    }

    /// Whether it may start before basic.target.
    pub(super) fn is_early(&self) -> bool {
        self.value("Unit", "DefaultDependencies").and_then(boolean) == Some(false)
    }

    /// Whether a service remains active when its command has ended.
    pub(super) fn remains(&self) -> bool {
        self.value("Service", "RemainAfterExit").and_then(boolean) == Some(true)
    }

    /// `simple` and so on; only a service's means anything.
    pub(super) fn service_type(&self) -> &str {
        let default = if self.last("Service", "BusName").is_some() { "dbus" } else { "simple" };
        let default = if self.last("Service", "ExecStart").is_none() { "oneshot" } else { default };
        self.value("Service", "Type").unwrap_or(default)
    }

    /// Reads contents or a drop-in.
    pub(super) fn read(&mut self, text: &Text, findings: &mut Findings) {
        let mut section = None;
        // systemd takes CR LF for the end of a line, and passes over a byte order mark (src/basic/fileio.c, read_line).
        let mut lines = text
            .text
            .trim_start_matches('\u{feff}')
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .peekable();
        while let Some((number, line)) = lines.next() {
            let trimmed = line.trim_start();
            if is_comment(trimmed) || trimmed.is_empty() {
                continue;
            }
            let mut whole = trimmed.trim_end().to_owned();
            let (mut at, mut last) = (number, line);
            while ends_in_backslash(last) {
                whole.pop();
                let Some((next, line)) = lines.next_if(|(_, next)| is_worth_joining(next)) else {
                    let message = "the backslash joins this line with nothing that belongs to it";
                    findings.add(&LINE_CONTINUATION, &text.place(at, last.chars().count()), message);
                    break;
                };
                (at, last) = (next, line);
                if is_comment(line.trim_start()) {
                    last = "\\";
                    whole.push('\\');
                } else {
                    whole = format!("{} {}", whole.trim_end(), line.trim());
                }
            }
            let spaced = last.trim_end();
            if spaced.len() < last.len() && ends_in_backslash(spaced) {
                let message = "blanks behind the backslash: the line is not continued";
                findings.add(&LINE_CONTINUATION, &text.place(at, spaced.chars().count()), message);
            }
            let column = line.chars().count() - trimmed.chars().count() + 1;
            self.line(&whole, text, (number, column), &mut section, findings);
        }
    }

    fn line(
        &mut self,
        line: &str,
        text: &Text,
        (number, column): (usize, usize),
        section: &mut Option<String>,
        findings: &mut Findings,
    ) {
        let place = text.place(number, column);
        if let Some(rest) = line.strip_prefix('[') {
            let Some(name) = rest.strip_suffix(']') else {
                findings.add(&UNIT_SYNTAX, &place, format!("`{line}` is no section: systemd refuses the whole file"));
                return;
            };
            self.sections.push(Section { name: name.to_owned(), place });
            *section = Some(name.to_owned());
            return;
        }
        let (Some(section), Some((key, value))) = (section, line.split_once('=')) else {
            let shown: String = line.chars().take(40).collect();
            let message = match line.contains('=') {
                true => format!("`{shown}` stands before the first section"),
                false => format!("`{shown}` is no assignment: it has no `=`"),
            };
            findings.add(&UNIT_SYNTAX, &place, message);
            return;
        };
        let blanks = value.chars().take_while(|c| c.is_whitespace()).count();
        self.settings.push(Setting {
            section: section.clone(),
            key: key.trim_end().to_owned(),
            value: value.trim().to_owned(),
            place,
            text: text.clone(),
            line: number,
            column: column + key.chars().count() + 1 + blanks,
        });
    }
}

fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';'])
}

/// Whether a backslash that no other one escapes ends the line.
fn ends_in_backslash(line: &str) -> bool {
    let line = line.trim_end_matches('\r');
    (line.len() - line.trim_end_matches('\\').len()) % 2 == 1
}

/// Joining a section's head or an empty line is what nobody wants.
fn is_worth_joining(line: &str) -> bool {
    let line = line.trim();
    let is_head = line.starts_with('[') && line.ends_with(']') && !line.contains(' ');
    !line.is_empty() && !is_head
}

/// A boolean as systemd reads it.
pub(super) fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// A time span of systemd.time(7) in seconds; infinity is `f64::INFINITY`.
pub(super) fn seconds(value: &str) -> Option<f64> {
    let value = value.trim();
    if value == "infinity" {
        return Some(f64::INFINITY);
    }
    let mut sum = None;
    let mut rest = value;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        sum = Some(sum.unwrap_or(0.0) + number * unit_of_time(&rest[..letters])?);
        rest = rest[letters..].trim_start();
    }
    sum
}

fn unit_of_time(unit: &str) -> Option<f64> {
    Some(match unit {
        "" | "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        "M" | "month" | "months" => 2_629_800.0,
        "y" | "year" | "years" => 31_557_600.0,
        "ms" | "msec" => 1e-3,
        "us" | "usec" | "μs" | "µs" => 1e-6,
        _ => return None,
    })
}

/// A command line in words, quotes and escapes resolved; `None` if its quotes do not match.
pub(super) fn command_words(line: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Some(words);
        }
        let mut word = Word::default();
        while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
            match c {
                '"' | '\'' => {
                    word.quoted = true;
                    loop {
                        match chars.next()? {
                            end if end == c => break,
                            '\\' => word.text.push(unescaped(chars.next()?)),
                            other => word.text.push(other),
                        }
                    }
                }
                // At the end of the line it is itself.
                '\\' => word.text.push(chars.next().map_or('\\', unescaped)),
                other => word.text.push(other),
            }
        }
        words.push(word);
    }
}

/// A word of a command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Whether any of it stands in quotes.
    pub(super) quoted: bool,
}

fn unescaped(c: char) -> char {
    match c {
        'n' => '\n',
        't' => '\t',
        's' => ' ',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (UnitFile, Vec<String>) {
        let place = Place { file: "f".into(), line: 1, column: 1, inside: None };
        let mut findings = Findings::default();
        let mut file = UnitFile::default();
        file.read(&Text::encoded(text, place, "x.service"), &mut findings);
        let found = findings.into_sorted(&["f".into()]);
        let said = found.iter().map(|finding| {
            let inside = finding.place.inside.as_ref().expect("a place inside");
            format!("{} {}:{}", finding.rule, inside.line, inside.column)
        });
        (file, said.collect())
    }

    #[test]
    fn assignments_are_joined_reset_and_placed() {
        let text = "[Unit]\nAfter=a\nAfter=\n  After = b \\\n# not this\n   c\n\n[Service]\nExecStart=/bin/x\n";
        let (file, said) = read(text);
        assert_eq!(said, Vec::<String>::new());
        assert_eq!(file.words("Unit", "After").map(|(word, _)| word).collect::<Vec<_>>(), ["b", "c"]);
        let after = file.last("Unit", "After").expect("there");
        assert_eq!((after.line, after.column), (4, 11));
        assert_eq!(file.value("Service", "ExecStart"), Some("/bin/x"));
    }

    #[test]
    fn lines_that_are_nothing_are_told() {
        assert_eq!(read("A=1\n[Unit\n[Unit]\n nothing\n").1, ["unit-syntax 1:1", "unit-syntax 2:1", "unit-syntax 4:2"]);
        assert_eq!(read("[Service]\nExecStart=/bin/a \\ \n  b\n").1, ["line-continuation 2:18", "unit-syntax 3:3"]);
        assert_eq!(read("[Service]\nExecStart=/bin/a \\\n\n[Install]\n").1, ["line-continuation 2:18"]);
        assert_eq!(read("\u{feff}[Unit]\r\nAfter=a\r\n").1, Vec::<String>::new());
        assert_eq!(read("[Service]\nExecStart=/bin/a \\\\\n").1, Vec::<String>::new());
    }

    #[test]
    fn values_are_read_as_systemd_reads_them() {
        assert_eq!(seconds("1min 30s"), Some(90.0));
        assert_eq!(seconds("2h"), Some(7200.0));
        assert_eq!(seconds("500ms"), Some(0.5));
        assert_eq!(seconds("infinity"), Some(f64::INFINITY));
        for bad in ["", "x", "5x", "1 2 q", "-1"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert_eq!(boolean("Yes"), Some(true));
        assert_eq!(boolean("maybe"), None);
        let texts = |line: &str| -> Option<Vec<String>> {
            Some(command_words(line)?.into_iter().map(|word| word.text).collect())
        };
        assert_eq!(texts("/bin/sh -c 'a \"b\" c'").expect("words"), ["/bin/sh", "-c", "a \"b\" c"]);
        assert_eq!(texts("a\"b c\"d e\\sf").expect("words"), ["ab cd", "e f"]);
        assert_eq!(texts("a 'b"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(\\[Unit\\]\n)?([ -~\n\\\\\r\t\"'=é]{0,20}\n?){0,8}") {
            let _ = read(&text);
            let _ = command_words(&text);
            let _ = seconds(&text);
        }
    }
}
