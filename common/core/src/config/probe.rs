//! A `[[service.probe]]` of the file as code uses it.

use regex_lite::Regex;
use toml::Spanned;

use super::checked::{Probe, ProbeKind};
use super::convert::is_host_and_port;
use super::file;
use super::preset;
use super::reader::Reader;

pub(super) fn probe(reader: &mut Reader, key: &str, table: Spanned<file::Probe>) -> Option<Probe> {
    let table = reader.table(key, Some(table));
    let field = |field: &str| format!("{key}.{field}");
    let kind = reader.required(key, &field("kind"), table.kind, r#"kind = "tcp""#);
    let example = r#"address = "127.0.0.1:8080""#;
    let address = reader.required(key, &field("address"), table.address, example);
    if let Some(address) = address.as_ref().filter(|address| !is_host_and_port(address)) {
        let text = format!("`{}` cannot be `{address}`: write `host:port`", field("address"));
        reader.fault(&[&field("address")], text);
    }
    let of_http = table.path.is_some() || table.status.is_some() || table.body.is_some();
    if kind == Some(file::ProbeKind::Tcp) && of_http {
        let text = "`path`, `status` and `body` are for `kind = \"http\"`: remove them, or change the kind";
        reader.fault(&[key], text.to_owned());
    }
    let path = reader.value(&field("path"), table.path).unwrap_or_else(|| "/".to_owned());
    let plain = |c: char| c.is_ascii_graphic();
    if !path.starts_with('/') || !path.chars().all(plain) {
        let text = format!(
            "`{}` cannot be `{path}`: write a path such as `/`, without blanks",
            field("path")
        );
        reader.fault(&[&field("path")], text);
    }
    let status = reader.number(&field("status"), table.status, preset::PROBE_STATUS, 100..=599);
    let body = reader.value(&field("body"), table.body);
    if let Some(Err(why)) = body.as_deref().map(Regex::new) {
        let text = format!(
            "`{}` is no regular expression: {why}; write what the answer has in it, such as `\"state\":\"RUNNING\"`",
            field("body")
        );
        reader.fault(&[&field("body")], text);
    }
    let mut count =
        |name: &str, given, default| reader.number(&field(name), given, default, 1..=1000);
    let rise = count("rise", table.rise, preset::PROBE_RISE);
    let fall = count("fall", table.fall, preset::PROBE_FALL);
    let fall_unanswered =
        count("fall_unanswered", table.fall_unanswered, preset::PROBE_FALL_UNANSWERED);
    let mut span = |name: &str, given, default| reader.millis(&field(name), given, default);
    let interval = span("interval_ms", table.interval_ms, preset::PROBE_INTERVAL);
    let limit = span("limit_ms", table.limit_ms, preset::PROBE_LIMIT);
    let kind = match kind? {
        file::ProbeKind::Tcp => ProbeKind::Tcp { address: address? },
        file::ProbeKind::Http => ProbeKind::Http { address: address?, path, status, body },
    };
    Some(Probe { kind, interval, limit, rise, fall, fall_unanswered })
}
