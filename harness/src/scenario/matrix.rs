//! One scenario file as several scenarios: a row for each choice of its matrix.
//!
//! `matrix` names variables, each with its values. `$name` in any other value of the file stands for the row's value:
//! alone for whatever it is, within a longer text for its text.

use super::document::{Entry, Node, Value};
use super::value::is_kebab;
use super::{Document, Mistake, Mistakes};

const KEY: &str = "matrix";
/// More rows than this are a mistake, or belong into several files.
const MOST_ROWS: usize = 200;

/// The document of one row, without its matrix.
pub(super) struct Row {
    /// `[name=value,…]`; empty without a matrix.
    pub name: String,
    pub document: Document,
}

struct Variable {
    name: String,
    values: Vec<(String, Node)>,
}

/// The rows of a document; one without a name where it has no matrix.
pub(super) fn rows(mut document: Document) -> Result<Vec<Row>, Mistakes> {
    let Some(matrix) = take_out(&mut document) else {
        return Ok(vec![Row { name: String::new(), document }]);
    };
    let variables = variables(&document, &matrix).map_err(|wrong| Mistakes::new(&document, wrong))?;
    let count = variables.iter().map(|variable| variable.values.len()).product::<usize>();
    if count > MOST_ROWS {
        let help = format!("A scenario has {MOST_ROWS} rows at most; make two of it.");
        let wrong = document.mistake_at(matrix.key_span, format!("{count} rows"), Some(help));
        return Err(Mistakes::new(&document, vec![wrong]));
    }
    let mut rows = vec![vec![]];
    for variable in &variables {
        let longer = |row: &Vec<_>| {
            let values = variable.values.iter();
            values.map(|value| [row.as_slice(), &[(variable, value)]].concat()).collect::<Vec<_>>()
        };
        rows = rows.iter().flat_map(longer).collect();
    }
    Ok(rows.iter().map(|row| make(&document, row)).collect())
}

fn take_out(document: &mut Document) -> Option<Entry> {
    let Value::Map(entries) = &mut document.root.value else { return None };
    let index = entries.iter().position(|entry| entry.key == KEY)?;
    Some(entries.remove(index))
}

fn variables(document: &Document, matrix: &Entry) -> Result<Vec<Variable>, Vec<Mistake>> {
    let wrong = |node: &Node, message: &str, help: &str| {
        let place = if node.span.is_empty() { matrix.key_span.clone() } else { node.span.clone() };
        document.mistake_at(place, message.to_owned(), Some(help.to_owned()))
    };
    let Value::Map(entries) = &matrix.value.value else {
        let help = "Name variables with their values: `matrix: {seed: [1, 2]}`, then write `$seed` where it belongs.";
        return Err(vec![wrong(&matrix.value, "a matrix is a map", help)]);
    };
    let mut mistakes = vec![];
    let mut variables = vec![];
    for entry in entries {
        let values: Vec<(String, Node)> = match &entry.value.value {
            Value::Seq(items) => items.iter().map(|item| (scalar(item).unwrap_or_default(), item.clone())).collect(),
            Value::Map(named) => named.iter().map(|one| (one.key.clone(), one.value.clone())).collect(),
            Value::Scalar { .. } => vec![],
        };
        if !is_kebab(&entry.key) {
            let help = "Lower-case letters, digits and `-`, a letter first.";
            let message = format!("`{}` is not a variable's name", entry.key);
            mistakes.push(document.mistake_at(entry.key_span.clone(), message, Some(help.to_owned())));
        }
        if values.is_empty() {
            let help = "Write a list of values, or a map from names to values.";
            mistakes.push(wrong(&entry.value, "a variable without values", help));
        }
        let is_word =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+%".contains(c));
        for (name, node) in values.iter().filter(|(name, _)| !is_word(name)) {
            let message = format!("`{name}` can't be part of a trial's name");
            let help = "Write a map from names to values: `{name: value}`; names are letters, digits and `._-+%`.";
            mistakes.push(wrong(node, &message, help));
        }
        let used = format!("${}", entry.key);
        if !mentions(&document.root, &used) {
            let message = format!("`{used}` stands nowhere");
            let help = "A variable without use makes rows that are all the same.".to_owned();
            mistakes.push(document.mistake_at(entry.key_span.clone(), message, Some(help)));
        }
        variables.push(Variable { name: entry.key.clone(), values });
    }
    // The longest first: `$seed-two` is not `$seed` with something behind it.
    variables.sort_by_key(|variable| std::cmp::Reverse(variable.name.len()));
    if mistakes.is_empty() { Ok(variables) } else { Err(mistakes) }
}

fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    }
}

fn mentions(node: &Node, variable: &str) -> bool {
    match &node.value {
        Value::Scalar { text, .. } => text.contains(variable),
        Value::Seq(items) => items.iter().any(|item| mentions(item, variable)),
        Value::Map(entries) => entries.iter().any(|entry| mentions(&entry.value, variable)),
    }
}

fn make(document: &Document, row: &[(&Variable, &(String, Node))]) -> Row {
    let mut names: Vec<String> =
        row.iter().map(|(variable, (value, _))| format!("{}={value}", variable.name)).collect();
    names.sort();
    let mut document = document.clone();
    fill(&mut document.root, row);
    Row { name: format!("[{}]", names.join(",")), document }
}

fn fill(node: &mut Node, row: &[(&Variable, &(String, Node))]) {
    match &mut node.value {
        Value::Seq(items) => items.iter_mut().for_each(|item| fill(item, row)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| fill(&mut entry.value, row)),
        Value::Scalar { text, .. } => {
            for (variable, (_, value)) in row {
                let name = format!("${}", variable.name);
                if *text == name {
                    node.value = value.value.clone();
                    return;
                }
                if let Some(with) = scalar(value) {
                    *text = text.replace(&name, &with);
                }
            }
        }
    }
}

/// The part of a trial's id that names the file, without its row.
pub(super) fn without_row(id: &str) -> &str {
    id.split('[').next().unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(text: &str) -> Result<Vec<Row>, String> {
        rows(Document::parse("pull/x.yaml", text).expect("YAML")).map_err(|mistakes| mistakes.plain())
    }

    #[test]
    fn each_choice_is_a_row() {
        let rows = rows_of("matrix: {a: [1, 2], b: {x: {k: v}, y: []}}\ntext: is $a\nnode: $b\n").expect("rows");
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["[a=1,b=x]", "[a=1,b=y]", "[a=2,b=x]", "[a=2,b=y]"]);
        let shown = format!("{:?}", rows[2].document.root);
        assert!(shown.contains("is 2") && shown.contains("\"k\"") && !shown.contains("matrix"), "{shown}");
    }

    #[test]
    fn a_longer_name_is_not_a_shorter_one() {
        let rows = rows_of("matrix: {a: [1], a-b: [2]}\ntext: $a-b $a\n").expect("rows");
        assert!(format!("{:?}", rows[0].document.root).contains("2 1"), "{:?}", rows[0].document.root);
    }

    #[test]
    fn a_matrix_that_says_nothing_is_refused_with_its_place() {
        let wrong = rows_of("matrix: {a: [], B: [1], c: [{k: v}], d: [1]}\ntext: $a $B $c\n").err().expect("refused");
        let lines: Vec<&str> = wrong.lines().collect();
        assert_eq!(lines.len(), 4, "{wrong}");
        assert!(wrong.contains("1:13: a variable without values"), "{wrong}");
        assert!(wrong.contains("`B` is not a variable's name"), "{wrong}");
        assert!(wrong.contains("can't be part of a trial's name"), "{wrong}");
        assert!(wrong.contains("`$d` stands nowhere"), "{wrong}");
        assert!(rows_of("matrix: [1]\n").err().expect("refused").contains("a matrix is a map"));
    }

    #[test]
    fn the_rows_name_is_not_part_of_the_files() {
        assert_eq!(without_row("power/cuts[seed=3]"), "power/cuts");
        assert_eq!(without_row("power/cuts"), "power/cuts");
    }
}
