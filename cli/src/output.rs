//! The only place that writes to the terminal. Colours are put in everywhere and taken out here where nobody sees them.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// Good.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// To be looked at.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// Bad.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// A heading.
pub(crate) const HEAD: Style = Style::new().bold();

/// Text in a style; without it the text must say the same.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints text to standard output as it is.
///
/// # Errors
/// Nobody reads it any more, or the disk is full.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a line to standard output.
///
/// # Errors
/// As for [`print`].
pub(crate) fn line(text: &str) -> io::Result<()> {
    print(&format!("{text}\n"))
}

/// Prints a value as one line of JSON, or several lines where a person reads it.
///
/// # Errors
/// As for [`print`].
pub(crate) fn json<T: Serialize>(value: &T) -> io::Result<()> {
    let text = if io::stdout().is_terminal() {
        serde_json::to_string_pretty(value)?
    } else {
        serde_json::to_string(value)?
    };
    line(&text)
}

/// Shows a page over and over: in place of the one before it on a terminal, after it elsewhere.
///
/// # Errors
/// As for [`print`].
pub(crate) fn page(text: &str) -> io::Result<()> {
    if io::stdout().is_terminal() {
        // Each line's rest and the rest of the screen are cleared after the new text is there: that does not flicker.
        let text = text.replace('\n', "\x1b[K\n");
        print(&format!("\x1b[H{text}\x1b[J"))
    } else {
        print(&format!("{text}\n"))
    }
}

/// Asks a person, on standard error, so that it does not get into what is read by programs. Nobody to ask is no.
///
/// # Errors
/// The terminal is gone.
pub(crate) fn agrees(question: &str) -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    write!(anstream::stderr(), "{question} [yes/no] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// Says to standard error why it did not work. There is nobody to tell when that fails.
pub(crate) fn complain(text: &str) {
    drop(writeln!(anstream::stderr(), "headship: {text}"));
}
