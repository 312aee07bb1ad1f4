//! Lines of shell in pages and in help.

/// The programs that a line of shell calls, each with its words: without variables before it, and redirections.
pub fn programs(line: &str) -> Result<Vec<Vec<String>>, String> {
    let line = line.replace("\\\n", " ");
    let words = shlex::split(&line).ok_or_else(|| format!("quotes are open in: {line}"))?;
    let is_end = |word: &String| ["|", "&&", "||", ";"].contains(&word.as_str());
    let is_redirection = |word: &String| word.trim_start_matches('2').starts_with(['>', '<']);
    let is_variable = |word: &String| {
        let name = word.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    let program = |words: &[String]| -> Vec<String> {
        let words = words.iter().skip_while(|word| is_variable(word) || *word == "sudo");
        words.filter(|word| !is_redirection(word)).cloned().collect()
    };
    Ok(words.split(is_end).map(program).filter(|words| !words.is_empty()).collect())
}
