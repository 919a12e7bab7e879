//! What commands print. In: rows or JSON values. Out: text on stdout. Always: JSON carries `schema`.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs; fields are added, never changed.
    Json,
}

/// Prints a JSON value, or the text that people read.
pub(crate) fn print(output: Output, json: &Value, text: &str) {
    match output {
        Output::Json => println!("{json}"),
        Output::Table => println!("{}", text.trim_end()),
    }
}

/// A plain table.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
