//! `day1 new`: a scenario to begin with.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use day1_harness::inspect::Source;
use day1_harness::scenario::{Mistakes, ModuleName, Plot, Repository, Scenario, Sketch};
use dialoguer::{Input, Select};

use super::out::print;
use super::run::find_above;

#[derive(Args)]
#[command(after_long_help = "\
What is not said is asked for, on a terminal. The file is commented, and a scenario that runs as it is.

Examples:
  day1 new
  day1 new mine/later --happens later-boots
  day1 new mine/cut --happens power-cut-while-loading --module nic --in-tree e1000 --from oci:build/image \\
      --image quay.io/vendor/driver
  day1 new mine/later --happens later-boots --output -")]
pub struct New {
    /// Its family and its name, such as `registry/slow-mirror`; the file is `scenarios/FAMILY/NAME.yaml`.
    #[arg(value_name = "FAMILY/NAME", value_parser = name)]
    name: Option<String>,
    /// What happens to the node.
    #[arg(long, value_name = "WHAT", value_parser = plots())]
    happens: Option<Plot>,
    /// The module that the nodes load: one of `vm-images/kmods`, or with `--from` any [default: `day1_nic`].
    #[arg(long, value_name = "NAME", value_parser = text::<ModuleName>)]
    module: Option<ModuleName>,
    /// In-tree modules that it replaces, by commas, in the order of their removal [default: `e1000` for `day1_nic`].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = text::<ModuleName>)]
    in_tree: Option<Vec<ModuleName>>,
    /// The repository that the MachineConfig names, without a tag [default: `quay.io/day1/driver`].
    #[arg(long, value_name = "REPOSITORY", value_parser = text::<Repository>)]
    image: Option<Repository>,
    /// An image of yours, taken as it is: quay.io/vendor/driver:TAG, oci:DIR, oci-archive:FILE or docker-archive:FILE.
    #[arg(long, value_name = "IMAGE", requires = "module", value_parser = |text: &str| source(text).map(|_| text.to_owned()))]
    from: Option<String>,
    /// What it shows, in one line.
    #[arg(long, value_name = "TEXT", value_parser = one_line)]
    description: Option<String>,
    /// Write here instead; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Directory with the scenarios [default: `scenarios`, here or above].
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
}

/// Of what a scenario's value is made from a text.
fn text<T: TryFrom<String, Error = String>>(text: &str) -> Result<T, String> {
    // Behind the first line stands what would be right.
    T::try_from(text.to_owned()).map_err(|error| error.replace('\n', ". "))
}

fn plots() -> impl TypedValueParser<Value = Plot> {
    let value = |plot: Plot| PossibleValue::new(plot.word()).help(plot.shows());
    PossibleValuesParser::new(Plot::ALL.map(value)).try_map(|word| word.parse::<Plot>())
}

fn source(text: &str) -> Result<Source, String> {
    Source::parse(text, &|path| path.exists()).map_err(|error| error.to_string())
}

fn one_line(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty".into()),
        text if text.contains(|c: char| c.is_control() || "\u{2028}\u{2029}".contains(c)) => {
            Err("it has more than one line, or what a terminal would obey".into())
        }
        text => Ok(text.to_owned()),
    }
}

/// As files of scenarios are named.
fn name(text: &str) -> Result<String, String> {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && !part.ends_with('-')
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    match text.split_once('/') {
        Some((family, name)) if is_name(family) && is_name(name) => Ok(text.to_owned()),
        _ => Err("it is FAMILY/NAME, each of lower-case letters, digits and `-`, such as registry/slow-mirror".into()),
    }
}

/// What a person is told of a failure, and the exit code.
struct Failure(String, u8);

impl New {
    pub fn perform(self) -> ExitCode {
        match self.write() {
            Ok(code) => code,
            Err(Failure(message, code)) => {
                eprintln!("error: {message}");
                ExitCode::from(code)
            }
        }
    }

    fn write(mut self) -> Result<ExitCode, Failure> {
        let bad = |message: String| Failure(message, 2);
        if self.name.is_none() || self.happens.is_none() {
            if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
                return Err(bad(
                    "there is no terminal to ask at: say FAMILY/NAME and --happens WHAT; `day1 new --help` has examples".into(),
                ));
            }
            if let Err(error) = answer_interrupts().and_then(|()| Ok(self.ask()?)) {
                let _ = console::Term::stderr().show_cursor();
                if error.kind() == ErrorKind::Interrupted {
                    // Behind the question.
                    eprintln!();
                    return Err(Failure("interrupted: nothing was written".into(), 130));
                }
                return Err(bad(format!("nothing was written: {error}")));
            }
        }
        let (Some(name), Some(plot)) = (self.name.clone(), self.happens) else {
            return Err(bad("FAMILY/NAME and --happens WHAT are missing".into()));
        };
        let path = self.path(&name).map_err(bad)?;
        let sketch = self.sketch(plot, &path).map_err(bad)?;
        let text = sketch.yaml();
        // The project's own loader has the last word, before anything is written.
        let parsed = Scenario::parse(&Path::new(&name).with_extension("yaml"), text.clone());
        parsed.map_err(|mistakes: Mistakes| Failure(mistakes.plain(), 2))?;
        if path.as_os_str() == "-" {
            return Ok(print(&text, ExitCode::SUCCESS));
        }
        write_new(&path, &text).map_err(|error| bad(format!("cannot write {}: {error}", path.display())))?;
        say!("{}: {}", path.display(), sketch.description.as_deref().unwrap_or(plot.shows()));
        if self.output.is_none() {
            say!("run it:  day1 run {name}{}", self.elsewhere());
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What `day1 run` is told where the scenarios are not in their place.
    fn elsewhere(&self) -> String {
        self.scenarios.as_ref().map(|dir| format!(" --scenarios {}", dir.display())).unwrap_or_default()
    }

    fn path(&self, name: &str) -> Result<PathBuf, String> {
        match (&self.output, &self.scenarios) {
            (Some(output), _) => Ok(output.clone()),
            (None, Some(dir)) => Ok(dir.join(format!("{name}.yaml"))),
            (None, None) => Ok(find_above("scenarios")?.join(format!("{name}.yaml"))),
        }
    }

    fn sketch(&self, plot: Plot, path: &Path) -> Result<Sketch, String> {
        let module = match &self.module {
            Some(module) => module.clone(),
            None => text(MODULE)?,
        };
        let in_tree = match &self.in_tree {
            Some(names) => names.clone(),
            None => names(in_tree_of(&module))?,
        };
        if self.from.is_none() {
            is_at_hand(&module)?;
        }
        Ok(Sketch {
            description: self.description.clone(),
            plot,
            module,
            in_tree,
            repository: match &self.image {
                Some(repository) => repository.clone(),
                None => text(REPOSITORY)?,
            },
            from: self.from.as_ref().map(|image| named_in(path, image)).transpose()?,
        })
    }

    /// Asks for what is missing.
    fn ask(&mut self) -> dialoguer::Result<()> {
        if self.name.is_none() {
            let asked: String = Input::new()
                .with_prompt("family and name")
                .with_initial_text("mine/")
                .validate_with(|text: &String| name(text).map(drop))
                .interact_text()?;
            self.name = Some(asked);
        }
        if self.happens.is_none() {
            let items = Plot::ALL.map(|plot| format!("{:<24} {}", plot.word(), plot.shows()));
            let chosen = Select::new().with_prompt("what happens to the node").items(&items).default(0).interact()?;
            self.happens = Plot::ALL.get(chosen).copied();
        }
        if self.module.is_none() {
            let asked: String = Input::new()
                .with_prompt("module")
                .default(MODULE.into())
                .validate_with(|name: &String| text::<ModuleName>(name).and_then(|module| is_at_hand(&module)))
                .interact_text()?;
            self.module = text(&asked).ok();
        }
        if self.in_tree.is_none() {
            let asked: String = Input::new()
                .with_prompt("in-tree modules that it replaces, by commas")
                .with_initial_text(self.module.as_ref().map_or("", in_tree_of))
                .allow_empty(true)
                .validate_with(|list: &String| names(list).map(drop))
                .interact_text()?;
            self.in_tree = names(&asked).ok();
        }
        if self.image.is_none() {
            let asked: String = Input::new()
                .with_prompt("repository of the image, without a tag")
                .default(REPOSITORY.into())
                .validate_with(|name: &String| text::<Repository>(name).map(drop))
                .interact_text()?;
            self.image = text(&asked).ok();
        }
        Ok(())
    }
}

/// The project's own module, and the in-tree driver that has its network card before.
const MODULE: &str = "day1_nic";

fn in_tree_of(module: &ModuleName) -> &'static str {
    if module.as_str() == MODULE { "e1000" } else { "" }
}

/// What the image is called where nobody minds.
const REPOSITORY: &str = "quay.io/day1/driver";

/// A list with commas.
fn names(list: &str) -> Result<Vec<ModuleName>, String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(text).collect()
}

/// Whether the project can build the module.
fn is_at_hand(module: &ModuleName) -> Result<(), String> {
    let Ok(dir) = find_above("vm-images").map(|dir| dir.join("kmods")) else { return Ok(()) };
    let entries = std::fs::read_dir(&dir).map_err(|error| format!("cannot list {}: {error}", dir.display()))?;
    let mut known: Vec<String> = entries
        .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir())?.file_name().into_string().ok())
        .collect();
    known.sort();
    if known.iter().any(|name| name == module.as_str()) {
        return Ok(());
    }
    Err(format!(
        "there is no source of a module `{module}` in {}, only of {}; with --from IMAGE a module of yours is taken",
        dir.display(),
        known.join(", ")
    ))
}

/// A person names a file as it is called from here, and a scenario from where it lies.
fn named_in(scenario: &Path, image: &str) -> Result<String, String> {
    Ok(match source(image)? {
        Source::Registry { .. } => image.to_owned(),
        _ if scenario.as_os_str() == "-" => image.to_owned(),
        file => file.named_in(scenario).to_string(),
    })
}

/// From now on Ctrl-C is an answer that failed: by itself it would end this program while a choice hides the cursor.
fn answer_interrupts() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map(drop)
}

/// A file that is there stays.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let file = std::fs::File::create_new(path);
    let file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => std::io::Error::other("it is there already, and stays as it is"),
        _ => error,
    });
    file?.write_all(text.as_bytes())
}
