//! The connection to the system bus: kept up for ever, calls over it, and the signals that come in.
//!
//! The bus or PID 1 may go away, hang, or be executed anew at any time. A call then fails or runs into its caller's limit;
//! the connection is sought again, and whoever listens is told to look anew at everything (`Signal::Resync`).

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use headship_core::say::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use zbus::message::Message;
use zbus::zvariant::{DynamicType, Type};
use zbus::{Connection, DBusError, MessageStream, ObjectPath, OwnedObjectPath};

use super::unit::TRANSIENT;

pub(super) const SYSTEMD: &str = "org.freedesktop.systemd1";
pub(super) const MANAGER: Object<'_> =
    Object { path: "/org/freedesktop/systemd1", interface: "org.freedesktop.systemd1.Manager" };
const BUS: &str = "org.freedesktop.DBus";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// How long a connection may take to be made: a bus that hangs is tried again, not waited for.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// The pause between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(100);
/// Signals that may wait for a slow listener before it is told that it missed some.
const QUEUE: usize = 256;
/// Messages that may wait for us. More than the burst of jobs at a host's boot, or replies would wait behind them.
const MESSAGES: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// An object and one of its interfaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'a> {
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
}

/// What systemd tells by itself.
#[derive(Clone, Debug)]
pub(super) enum Signal {
    /// A job ended.
    JobRemoved { job: OwnedObjectPath, result: String },
    /// The state of a watched unit changed, or a job of it came or went.
    Unit(String),
    /// Signals may have been missed.
    Resync,
}

/// Why a call brought no answer.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// Nobody knows whether it was carried out.
    Unknown { why: String },
    /// systemd refused it; the error's name and text.
    Refused { name: String, text: String },
}

impl Trouble {
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }
}

/// The connection. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Bus {
    connection: watch::Receiver<Option<Connection>>,
    signals: broadcast::Sender<Signal>,
    link: tokio::task::AbortHandle,
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.link.abort();
    }
}

impl Bus {
    /// Begins to connect, and to listen for changes of `units`. Must be called within a tokio runtime.
    pub(super) fn open(units: impl IntoIterator<Item = String>) -> Self {
        let units = units.into_iter().map(|unit| (unit_path(&unit), unit)).collect();
        let (publish, connection) = watch::channel(None);
        let (signals, _) = broadcast::channel(QUEUE);
        let link = Link { units, publish, signals: signals.clone() };
        let link = tokio::spawn(link.keep_up()).abort_handle();
        Self { connection, signals, link }
    }

    pub(super) fn signals(&self) -> broadcast::Receiver<Signal> {
        self.signals.subscribe()
    }

    /// Calls a method of systemd. Waits for a connection if there is none; the limit is the caller's.
    pub(super) async fn call<B, R>(
        &self,
        object: Object<'_>,
        method: &str,
        body: &B,
    ) -> Result<R, Trouble>
    where
        B: Serialize + DynamicType + Sync,
        R: DeserializeOwned + Type,
    {
        let mut connection = self.connection.clone();
        let up = connection.wait_for(Option::is_some).await;
        let connection = up.map(|it| it.clone()).ok().flatten();
        let connection = connection.ok_or_else(|| Trouble::unknown("D-Bus is shut down"))?;
        let reply = call(&connection, SYSTEMD, object, method, body).await.map_err(trouble)?;
        reply.body().deserialize().map_err(|error| {
            Trouble::unknown(format!("systemd's answer is not understood: {error}"))
        })
    }

    /// Reads all properties of an object's interface.
    pub(super) async fn properties<R>(&self, object: Object<'_>) -> Result<R, Trouble>
    where
        R: DeserializeOwned + Type,
    {
        let properties = Object { path: object.path, interface: PROPERTIES };
        self.call(properties, "GetAll", &object.interface).await
    }

    /// Reads one property of an object's interface.
    pub(super) async fn property<R>(&self, object: Object<'_>, name: &str) -> Result<R, Trouble>
    where
        R: DeserializeOwned + Type,
    {
        let properties = Object { path: object.path, interface: PROPERTIES };
        self.call(properties, "Get", &(object.interface, name)).await
    }
}

/// The task that keeps the connection up and reads from it.
struct Link {
    /// The watched units by their object path.
    units: BTreeMap<String, String>,
    publish: watch::Sender<Option<Connection>>,
    signals: broadcast::Sender<Signal>,
}

impl Link {
    async fn keep_up(self) {
        // A connection that is away is said once.
        let mut said = false;
        loop {
            match timeout(CONNECT_LIMIT, self.connect()).await {
                Ok(Ok((connection, messages, owner))) => {
                    if said {
                        tracing::info!(MESSAGE_ID = Kind::BusBack.id(), "connected to D-Bus again");
                    }
                    self.publish.send_replace(Some(connection.clone()));
                    self.tell(Signal::Resync);
                    self.read(&connection, messages, owner).await;
                    self.publish.send_replace(None);
                    tracing::warn!(
                        MESSAGE_ID = Kind::BusAway.id(),
                        "D-Bus closed the connection, connecting again"
                    );
                    said = true;
                }
                Ok(Err(error)) if !said => {
                    tracing::warn!(
                        MESSAGE_ID = Kind::BusAway.id(),
                        "cannot connect to D-Bus, trying again: {error}"
                    );
                    said = true;
                }
                Err(_) if !said => {
                    tracing::warn!(
                        MESSAGE_ID = Kind::BusAway.id(),
                        "D-Bus does not answer, trying again"
                    );
                    said = true;
                }
                Ok(Err(_)) | Err(_) => {}
            }
            sleep(RECONNECT).await;
        }
    }

    async fn connect(&self) -> zbus::Result<(Connection, MessageStream, Option<String>)> {
        let connection = zbus::connection::Builder::system().max_queued(MESSAGES).build().await?;
        let messages = MessageStream::from(&connection);
        let bus = Object { path: "/org/freedesktop/DBus", interface: BUS };
        for added in call_each(&connection, BUS, bus, "AddMatch", self.rules()).await {
            added?;
        }
        // No owner: systemd is not on the bus yet, and NameOwnerChanged tells when it is.
        let owner = call(&connection, BUS, bus, "GetNameOwner", &SYSTEMD).await;
        let owner: Option<String> = owner.ok().and_then(|reply| reply.body().deserialize().ok());
        if owner.is_some() {
            self.subscribe(&connection).await?;
        }
        Ok((connection, messages, owner))
    }

    /// Asks systemd to send signals; that it does already is no fault.
    async fn subscribe(&self, connection: &Connection) -> zbus::Result<()> {
        match call(connection, SYSTEMD, MANAGER, "Subscribe", &()).await {
            Err(zbus::Error::MethodError(name, _, _)) if name.ends_with("AlreadySubscribed") => {}
            subscribed => drop(subscribed?),
        }
        self.keep_units(connection.clone());
        Ok(())
    }

    /// Asks systemd to keep the units in its memory: it would else read their files anew at each look at one that is down,
    /// many times in a switchover. Nobody waits for that, as it may take systemd a while, and nothing depends on it.
    fn keep_units(&self, connection: Connection) {
        // A transient unit that was kept could not be made anew.
        let kept = self.units.values().filter(|unit| !unit.starts_with(TRANSIENT));
        let kept: Vec<String> = kept.cloned().collect();
        tokio::spawn(async move {
            for kept in call_each(&connection, SYSTEMD, MANAGER, "RefUnit", kept).await {
                if let Err(error) = kept {
                    tracing::debug!("systemd does not keep a unit in memory: {error}");
                }
            }
        });
    }

    fn rules(&self) -> Vec<String> {
        let mut rules = vec![
            format!("type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{SYSTEMD}'"),
            format!("type='signal',sender='{SYSTEMD}',member='JobRemoved'"),
            format!("type='signal',sender='{SYSTEMD}',member='Reloading'"),
        ];
        // The unit's own interface is enough: every change of state shows there, and is sent last.
        rules.extend(self.units.keys().map(|path| {
            format!(
                "type='signal',sender='{SYSTEMD}',path='{path}',interface='{PROPERTIES}',\
                 member='PropertiesChanged',arg0='{SYSTEMD}.Unit'"
            )
        }));
        rules
    }

    async fn read(
        &self,
        connection: &Connection,
        mut messages: MessageStream,
        mut owner: Option<String>,
    ) {
        while let Some(Ok(message)) = poll_fn(|cx| Pin::new(&mut messages).poll_next(cx)).await {
            if let Some(new) = new_owner(&message) {
                // systemd was executed anew, or came (back) to the bus: it may have forgotten us.
                if new.is_some() {
                    match timeout(CONNECT_LIMIT, self.subscribe(connection)).await {
                        Ok(Ok(())) => tracing::info!(
                            MESSAGE_ID = Kind::BusBack.id(),
                            "systemd is on the bus anew"
                        ),
                        Ok(Err(_)) | Err(_) => return,
                    }
                }
                owner = new;
                self.tell(Signal::Resync);
                continue;
            }
            // Anybody on the bus may send us a signal of any form: only systemd's count.
            let sender = message.header().sender().map(|name| name.as_str().to_owned());
            if owner.is_some()
                && sender == owner
                && let Some(signal) = self.understand(&message)
            {
                self.tell(signal);
            }
        }
    }

    fn understand(&self, message: &Message) -> Option<Signal> {
        let header = message.header();
        let body = message.body();
        match header.member()?.as_str() {
            "JobRemoved" => {
                let (_, job, _, result): (u32, ObjectPath<'_>, &str, &str) =
                    body.deserialize().ok()?;
                Some(Signal::JobRemoved { job: job.into(), result: result.to_owned() })
            }
            "Reloading" => {
                let begins: bool = body.deserialize().ok()?;
                (!begins).then_some(Signal::Resync)
            }
            "PropertiesChanged" => {
                self.units.get(header.path()?.as_str()).cloned().map(Signal::Unit)
            }
            _ => None,
        }
    }

    fn tell(&self, signal: Signal) {
        // Nobody listening is no fault.
        drop(self.signals.send(signal));
    }
}

/// The new owner of systemd's name (`None`: nobody), if the message tells of a change.
fn new_owner(message: &Message) -> Option<Option<String>> {
    let header = message.header();
    let from_bus = header.sender().is_some_and(|sender| sender.as_str() == BUS);
    if !from_bus || header.member().is_none_or(|member| member.as_str() != "NameOwnerChanged") {
        return None;
    }
    let body = message.body();
    let (name, _, new): (&str, &str, &str) = body.deserialize().ok()?;
    (name == SYSTEMD).then(|| (!new.is_empty()).then(|| new.to_owned()))
}

/// The same call with each of these words, side by side.
async fn call_each(
    connection: &Connection,
    to: &'static str,
    object: Object<'static>,
    method: &'static str,
    words: impl IntoIterator<Item = String>,
) -> Vec<zbus::Result<Message>> {
    let mut calls = JoinSet::new();
    for word in words {
        let connection = connection.clone();
        calls.spawn(async move { call(&connection, to, object, method, &word).await });
    }
    calls.join_all().await
}

async fn call<B>(
    connection: &Connection,
    to: &str,
    object: Object<'_>,
    method: &str,
    body: &B,
) -> zbus::Result<Message>
where
    B: Serialize + DynamicType + Sync,
{
    connection.call_method(Some(to), object.path, Some(object.interface), method, body).await
}

/// What an error means: systemd's own words are a refusal; all else says nothing of whether it was carried out.
#[expect(clippy::wildcard_enum_match_arm, reason = "the error's other variants all mean one thing")]
fn trouble(error: zbus::Error) -> Trouble {
    match error {
        zbus::Error::MethodError(name, text, _) if name.starts_with(SYSTEMD) => {
            Trouble::Refused { name: name.to_string(), text: text.unwrap_or_default() }
        }
        zbus::Error::FDO(error) if is_refusal(&error) => Trouble::Refused {
            name: error.name().to_string(),
            text: error.description().unwrap_or_default().to_owned(),
        },
        other => Trouble::unknown(format!("D-Bus: {other}")),
    }
}

/// Whether systemd answered, if in one of the bus's own words. The bus has many more, which mean that nobody knows.
fn is_refusal(error: &zbus::fdo::Error) -> bool {
    use zbus::fdo::Error;
    matches!(
        error,
        Error::AccessDenied(_)
            | Error::InteractiveAuthorizationRequired(_)
            | Error::InvalidArgs(_)
            | Error::FileNotFound(_)
    )
}

/// A unit's object path. It is the same whether the unit is loaded or not.
pub(super) fn unit_path(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (index, byte) in unit.bytes().enumerate() {
        let plain = byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit());
        if plain {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_path_is_escaped_as_systemd_does() {
        assert_eq!(
            unit_path("headship-livy@1.service"),
            "/org/freedesktop/systemd1/unit/headship_2dlivy_401_2eservice"
        );
        assert_eq!(unit_path("1a.service"), "/org/freedesktop/systemd1/unit/_31a_2eservice");
    }
}
