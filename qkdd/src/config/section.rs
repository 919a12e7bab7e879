//! One table of a TOML file. In: the parsed table. Out: its values, each checked on the way. Always:
//! a key that nobody asked for is a fault, and every fault knows its line.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::FaultList;
use super::unit::Unit;

/// Reads one table and remembers which keys it knows.
pub(super) struct Section<'a> {
    text: &'a str,
    faults: &'a FaultList,
    name: String,
    line: Option<usize>,
    table: Option<&'a DeTable<'a>>,
    known: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(text: &'a str, faults: &'a FaultList, table: &'a DeTable<'a>) -> Self {
        Self::new(text, faults, String::new(), None, Some(table))
    }

    fn new(
        text: &'a str,
        faults: &'a FaultList,
        name: String,
        line: Option<usize>,
        table: Option<&'a DeTable<'a>>,
    ) -> Self {
        Self { text, faults, name, line, table, known: RefCell::default() }
    }

    /// Line of this table.
    pub(super) fn line(&self) -> Option<usize> {
        self.line
    }

    /// True if the file has the table.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Notes a fault of a key.
    pub(super) fn fault(&self, key: &str, text: impl fmt::Display) {
        let line = self.find(key).map(|value| self.line_of(value)).or(self.line);
        self.faults.add(line, format!("{} {text}", self.path(key)));
    }

    /// Marks a key as known and tells whether the file gives it.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str) -> Option<&'a str> {
        match self.get(key)?.get_ref() {
            DeValue::String(text) => Some(text),
            other => self.wrong_type(key, other, "a text in quotes"),
        }
    }

    /// A text that must be there.
    pub(super) fn required_text(&self, key: &'static str) -> Option<&'a str> {
        if !self.has(key) {
            self.fault(key, "is missing: add it");
        }
        self.text(key)
    }

    /// A text that must be there and be a `T`.
    pub(super) fn required<T: FromStr<Err: fmt::Display>>(&self, key: &'static str) -> Option<T> {
        self.parsed(key, self.required_text(key)?)
    }

    /// A text that is a `T` if it is there.
    pub(super) fn optional<T: FromStr<Err: fmt::Display>>(&self, key: &'static str) -> Option<T> {
        self.parsed(key, self.text(key)?)
    }

    fn parsed<T: FromStr<Err: fmt::Display>>(&self, key: &'static str, text: &str) -> Option<T> {
        text.parse().map_err(|error| self.fault(key, format!("= {text:?}: {error}"))).ok()
    }

    /// A flag.
    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        match self.get(key)?.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            other => self.wrong_type(key, other, "true or false"),
        }
    }

    /// A whole number.
    pub(super) fn integer(&self, key: &'static str) -> Option<u64> {
        let value = self.get(key)?.get_ref();
        let number = value.as_integer().and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        number.or_else(|| self.wrong_type(key, value, "a whole number from 0"))
    }

    /// A number without unit within a range.
    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.get(key)?.get_ref();
        let Some(number) = plain_number(value) else {
            return self.wrong_type(key, value, "a number without quotes");
        };
        self.in_range(key, number, &number.to_string(), range, "")
    }

    /// Two numbers without unit, each within a range.
    pub(super) fn pair(&self, key: &'static str, range: RangeInclusive<f64>) -> Option<[f64; 2]> {
        let value = self.get(key)?.get_ref();
        let numbers: Option<Vec<f64>> =
            value.as_array().and_then(|list| list.iter().map(|item| plain_number(item.get_ref())).collect());
        match numbers.as_deref() {
            Some(&[first, second]) if range.contains(&first) && range.contains(&second) => Some([first, second]),
            Some(&[_, _]) => {
                let (low, high) = range.into_inner();
                self.fault(key, format!("has a value outside {low} to {high}"));
                None
            }
            _ => self.wrong_type(key, value, "a list of two numbers"),
        }
    }

    /// A number with its unit within a range, in the unit of the kind.
    pub(super) fn quantity(&self, key: &'static str, unit: Unit, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.get(key)?.get_ref();
        let DeValue::String(text) = value else {
            return self.wrong_type(key, value, &format!("a number with its unit in quotes ({})", unit.offer()));
        };
        let Some(number) = unit.read(text) else {
            self.fault(key, format!("= {text:?} is not a number with one of the units {}", unit.offer()));
            return None;
        };
        self.in_range(key, number, text, range, unit.suffix())
    }

    fn in_range(&self, key: &str, number: f64, said: &str, range: RangeInclusive<f64>, unit: &str) -> Option<f64> {
        if range.contains(&number) {
            return Some(number);
        }
        let (low, high) = range.into_inner();
        self.fault(key, format!("= {said} is outside {low}{unit} to {high}{unit}: choose a value within"));
        None
    }

    /// A table of the file; reads as empty if it is absent.
    pub(super) fn section(&self, key: &'static str) -> Self {
        let value = self.get(key);
        let table = value.and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => self.wrong_type(key, other, "a table"),
        });
        Self::new(self.text, self.faults, self.path(key), value.map(|value| self.line_of(value)), table)
    }

    /// The tables of a list such as `[[link]]`.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(list) = value.get_ref() else {
            self.wrong_type::<()>(key, value.get_ref(), &format!("a list of tables, written [[{key}]]"));
            return Vec::new();
        };
        let each = list.iter().enumerate().filter_map(|(i, item)| {
            let DeValue::Table(table) = item.get_ref() else {
                return self.wrong_type(key, item.get_ref(), "a table");
            };
            let name = format!("{}[{}]", self.path(key), i + 1);
            Some(Self::new(self.text, self.faults, name, Some(self.line_of(item)), Some(table)))
        });
        each.collect()
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for key in self.table.iter().flat_map(|table| table.keys()) {
            let name: &str = key.get_ref();
            if !known.contains(name) {
                let offer: Vec<_> = known.iter().copied().collect();
                let shown: String = name.chars().take(64).collect();
                self.faults.add(
                    Some(line_at(self.text, key.span().start)),
                    format!("{} is not an option here: use one of {}", self.path(&shown), offer.join(", ")),
                );
            }
        }
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.borrow_mut().insert(key);
        self.find(key)
    }

    fn find(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        let table = self.table?;
        table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn line_of(&self, value: &Spanned<DeValue<'_>>) -> usize {
        line_at(self.text, value.span().start)
    }

    fn wrong_type<T>(&self, key: &str, value: &DeValue<'_>, want: &str) -> Option<T> {
        let kind = value.type_str();
        self.fault(key, format!("is of type {kind}: write {want}"));
        None
    }
}

fn plain_number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n as f64),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    }
}

/// The line, from 1, of a place in a text.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}
