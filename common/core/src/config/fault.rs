//! What is wrong with a configuration, and where.

use std::fmt;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In a file.
    Line {
        /// The file's name as it was handed in.
        file: String,
        /// Its line, counted from 1.
        line: usize,
    },
    /// In the profile of this cluster type.
    Profile(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::Profile(name) => write!(f, "profile `{name}`"),
        }
    }
}

/// One fault: a sentence that ends with the way out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Where it is; what is missing is said of the line where it could stand, or of the file's first.
    pub place: Place,
    /// What is wrong and what to do.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, text } = self;
        match place {
            Place::Line { .. } => write!(f, "{place}: {text}"),
            Place::Profile(_) => {
                write!(f, "in the {place} (a `[[service]]` of the same name overrides it): {text}")
            }
        }
    }
}

/// All faults of a configuration, in the order of files and lines; those of the profile come last. Displayed one a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
