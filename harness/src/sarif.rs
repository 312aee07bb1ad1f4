//! What every SARIF 2.1.0 document of this program has around its results.

use serde_sarif::sarif::{ReportingDescriptor, Result as SarifResult, Run, Sarif, Tool, ToolComponent};

/// A document of one run of `tool`, in JSON. Columns are counted in Unicode's code points.
pub(crate) fn document(
    tool: &str,
    rules: Vec<ReportingDescriptor>,
    results: Vec<SarifResult>,
) -> Result<String, serde_json::Error> {
    let driver = ToolComponent::builder().name(tool).version(env!("CARGO_PKG_VERSION")).rules(rules).build();
    let run = Run::builder()
        .tool(Tool::builder().driver(driver).build())
        .results(results)
        .column_kind(serde_json::json!("unicodeCodePoints"))
        .build();
    let sarif = Sarif::builder()
        .version(serde_json::json!("2.1.0"))
        .schema("https://json.schemastore.org/sarif-2.1.0.json")
        .runs(vec![run])
        .build();
    serde_json::to_string_pretty(&sarif)
}
