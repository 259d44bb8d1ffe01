//! User and password of an Ambari server, as they are kept in a file.

use std::fmt;

use crate::fencing::agent;

/// User and password. Neither is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Login {
    /// From the lines of the file, with `#` before comments.
    ///
    /// # Errors
    ///
    /// What is wrong, and in which line; never its content.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = agent::secrets(text)?;
        let mut take = |key: &str| {
            let value = lines.remove(key).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("there is no `{key}=…` in it: add that line"))
        };
        let (user, password) = (take("user")?, take("password")?);
        if user.contains(':') {
            return Err("the user has a colon in it, which HTTP has no way to send".to_owned());
        }
        if !lines.is_empty() {
            return Err("it has lines beside `user=` and `password=`: remove them".to_owned());
        }
        Ok(Self { user, password })
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_read_and_never_shown() {
        let login = Login::parse("# ours\nuser=headship\npassword=hunter=2 \n").unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("headship", "hunter=2"));
        assert_eq!(format!("{login:?}"), "Login");
        for bad in [
            "user=a\n",
            "password=hunter2\n",
            "user=\npassword=hunter2\n",
            "user=a:b\npassword=hunter2\n",
            "user=a\npassword=hunter2\nhunter2\n",
            "user=a\npassword=hunter2\ntoken=hunter2\n",
        ] {
            let why = Login::parse(bad).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
