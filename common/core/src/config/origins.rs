//! Where the values of a configuration come from.

use std::collections::BTreeMap;

use super::fault::Place;

/// Where the values of a configuration come from, each known by its full name, such as `timing.lease_ms`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    pub(super) profile: Option<String>,
    /// Where what is written stands.
    pub(super) places: BTreeMap<String, Place>,
    /// What others follow, in words.
    pub(super) followed: BTreeMap<String, String>,
    pub(super) left_out: Vec<String>,
}

impl Origins {
    /// The profile that lies beneath the files, if there is one.
    pub fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// The services that are left out, each with where that is said.
    pub fn left_out(&self) -> impl Iterator<Item = (&str, String)> {
        let left_out = self.left_out.iter();
        left_out.map(|name| (name.as_str(), self.of(&[&format!("service.{name}.enabled")])))
    }

    /// Whether a value is written, be it in the profile.
    pub(super) fn is_written(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Where a value comes from, in words: the first of its names that is known counts.
    pub(super) fn of(&self, keys: &[&str]) -> String {
        let place = keys.iter().find_map(|key| self.places.get(*key)).map(Place::to_string);
        let followed = || keys.iter().find_map(|key| self.followed.get(*key)).cloned();
        // It becomes a comment, which a control character in a file's name would end.
        let origin = place.or_else(followed).unwrap_or_else(|| "default".to_owned());
        origin.replace(char::is_control, " ")
    }
}
