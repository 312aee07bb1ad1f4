//! What every SARIF 2.1.0 document of this program has around its results.

use serde_sarif::sarif::{Invocation, ReportingDescriptor, Result as SarifResult, Run, Sarif, Tool, ToolComponent};

/// A document of one run of `tool`, in JSON; `invocation` says how that went, where it may have gone wrong. Columns are counted in Unicode's code points.
pub(crate) fn document(
    tool: &str,
    rules: Vec<ReportingDescriptor>,
    results: Vec<SarifResult>,
    invocation: Option<Invocation>,
) -> Result<String, serde_json::Error> {
    let driver = ToolComponent::builder().name(tool).version(env!("CARGO_PKG_VERSION")).rules(rules).build();
    let run = Run::builder()
        .tool(Tool::builder().driver(driver).build())
        .results(results)
        .column_kind(serde_json::json!("unicodeCodePoints"));
    let run = match invocation {
        Some(invocation) => run.invocations(vec![invocation]).build(),
        None => run.build(),
    };
    let sarif = Sarif::builder()
        .version(serde_json::json!("2.1.0"))
        .schema("https://json.schemastore.org/sarif-2.1.0.json")
        .runs(vec![run])
        .build();
    serde_json::to_string_pretty(&sarif)
}
