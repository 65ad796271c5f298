//! One generated table of the plan: a step or a gate, each value with the place that it comes from.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use crate::plan::{mend::Node, section::Table};

/// A `[[phase.step]]` or a gate in the making.
#[derive(Debug)]
pub struct Line<'i> {
    place: Range<usize>,
    table: DeTable<'i>,
}

impl<'i> Line<'i> {
    /// Of this kind, because of what stands at `place`.
    pub fn new(kind: &'static str, place: &Range<usize>) -> Self {
        Self { place: place.clone(), table: DeTable::new() }.text("kind", kind)
    }

    /// With keys that the plan wrote: what is said of them points there.
    pub fn with(mut self, keys: &Table<'i>) -> Self {
        for (key, value) in keys.get_ref() {
            self.table.insert(key.clone(), value.clone());
        }
        self
    }

    /// With a text.
    pub fn text(self, key: &'static str, value: impl Into<String>) -> Self {
        let value = text(value, &self.place);
        self.put(key, value)
    }

    /// With texts.
    pub fn texts(self, key: &'static str, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let values: DeArray<'i> = values.into_iter().map(|value| text(value, &self.place)).collect();
        let values = Spanned::new(self.place.clone(), DeValue::Array(values));
        self.put(key, values)
    }

    /// With another table.
    pub fn inner(self, key: &'static str, value: Inner<'i>) -> Self {
        let value = Spanned::new(self.place.clone(), DeValue::Table(value.0));
        self.put(key, value)
    }

    /// With true.
    pub fn yes(self, key: &'static str) -> Self {
        let value = Spanned::new(self.place.clone(), DeValue::Boolean(true));
        self.put(key, value)
    }

    /// With a value that has a place of its own.
    pub fn put(mut self, key: &'static str, value: Node<'i>) -> Self {
        self.table.insert(Spanned::new(self.place.clone(), key.into()), value);
        self
    }

    /// With a value, where there is one.
    pub fn maybe(self, key: &'static str, value: Option<Node<'i>>) -> Self {
        match value {
            Some(value) => self.put(key, value),
            None => self,
        }
    }

    /// As it stands.
    pub fn done(self) -> Table<'i> {
        Spanned::new(self.place, self.table)
    }
}

/// A table inside a step: `from = { … }`.
#[derive(Debug, Default)]
pub struct Inner<'i>(DeTable<'i>);

impl<'i> Inner<'i> {
    /// With one more key.
    pub fn put(mut self, key: &'static str, value: Node<'i>) -> Self {
        self.0.insert(Spanned::new(value.span(), key.into()), value);
        self
    }
}

/// A text at a place.
pub fn text<'i>(value: impl Into<String>, place: &Range<usize>) -> Node<'i> {
    Spanned::new(place.clone(), DeValue::String(value.into().into()))
}
