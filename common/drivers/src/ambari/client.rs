//! HTTP to an Ambari server: one request at a time, each within its limit.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use headship_core::ambari::{Answer, Login, Method, Request, Server, cookie};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// How much of an answer is read: the newest requests are some 100 KiB.
const MOST: u64 = 8 * 1024 * 1024;

/// A server, and the session with it.
#[derive(Clone, Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    url: String,
    limit: Duration,
    /// The header that says who asks.
    authorization: Secret,
    /// What the server gave us to come back with.
    cookie: Arc<Mutex<Option<String>>>,
}

/// Never shown.
#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Client {
    /// A client of `server`, or why there is none.
    pub(super) fn new(server: &Server, login: &Login) -> Result<Self, String> {
        let config = ureq::Agent::config_builder()
            // What an answer means is decided in the core.
            .http_status_as_error(false)
            .max_redirects(0)
            // The environment's proxies are for other servers than this one.
            .proxy(None)
            .user_agent("headship");
        let config = match &server.ca_file {
            Some(path) => config.tls_config(trust(path)?).https_only(true),
            None => config,
        };
        let pair = format!("{}:{}", login.user, login.password);
        Ok(Self {
            agent: config.build().into(),
            url: server.url.clone(),
            limit: Duration::from_millis(server.limit_ms),
            authorization: Secret(format!("Basic {}", BASE64_STANDARD.encode(pair))),
            cookie: Arc::default(),
        })
    }

    /// The answer, or why there is none.
    pub(super) async fn ask(&self, request: Request, left: Duration) -> Result<Answer, String> {
        let (client, limit) = (self.clone(), self.limit.min(left));
        let asked = tokio::task::spawn_blocking(move || client.ask_now(&request, limit));
        let answer = asked.await.map_err(|error| format!("nobody asked Ambari: {error}"))?;
        answer.map_err(|error| format!("Ambari at {} does not answer: {error}", self.url))
    }

    fn ask_now(&self, request: &Request, limit: Duration) -> Result<Answer, ureq::Error> {
        let url = format!("{}{}", self.url, request.path);
        let session = self.cookie.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut response = match request.method {
            Method::Get => {
                let asked = self.agent.get(&url).header("Authorization", &self.authorization.0);
                let asked = session.iter().fold(asked, |asked, it| asked.header("Cookie", it));
                asked.config().timeout_global(Some(limit)).build().call()?
            }
            Method::Put => {
                let asked = self.agent.put(&url).header("Authorization", &self.authorization.0);
                let asked = session.iter().fold(asked, |asked, it| asked.header("Cookie", it));
                let asked = asked.header("X-Requested-By", "headship");
                asked.config().timeout_global(Some(limit)).build().send(request.body.as_str())?
            }
        };
        let given = response.headers().get("Set-Cookie").and_then(|it| it.to_str().ok());
        if let Some(given) = given.and_then(cookie) {
            *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = Some(given);
        }
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MOST).read_to_vec()?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// Only what stands in this file vouches for the server, and nothing that the host trusts otherwise.
fn trust(path: &str) -> Result<TlsConfig, String> {
    let pem = fs::read(path).map_err(|error| format!("`{path}` cannot be read: {error}"))?;
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!("`{path}` is no file of certificates: {error}")),
        }
    }
    if certificates.is_empty() {
        return Err(format!(
            "`{path}` has no certificate in it: write those of Ambari's CA in PEM"
        ));
    }
    let roots = RootCerts::Specific(Arc::new(certificates));
    Ok(TlsConfig::builder().root_certs(roots).build())
}

#[cfg(test)]
mod tests;
