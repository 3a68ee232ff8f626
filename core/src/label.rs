//! How an enum's value is spelled in SQL and JSON.

/// An enum whose values have a name outside of Rust: the label of a SQL enum, the text of a column, the code of an
/// OAuth error. The name is derived from the variant's.
pub trait Label: Copy + Into<&'static str> {
    /// The name.
    fn label(self) -> &'static str {
        self.into()
    }
}

impl<T: Copy + Into<&'static str>> Label for T {}
