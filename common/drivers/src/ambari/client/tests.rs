//! The client against servers on this host, in the clear and over TLS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use headship_core::ambari::Credentials;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

const LONG: Duration = Duration::from_secs(10);
const OK: &str = "HTTP/1.1 200 x\r\nSet-Cookie: AMBARISESSIONID=node1;Path=/;HttpOnly\r\nContent-Length: 2\r\n\r\nyo";

fn client(url: &str, ca_file: Option<&Path>) -> Result<Client, String> {
    let server = Server {
        url: url.to_owned(),
        cluster: "lab".to_owned(),
        credentials: Credentials::File(String::new()),
        ca_file: ca_file.map(|path| path.display().to_string()),
        limit_ms: 10_000,
        settle_ms: 0,
    };
    let login = Login { user: "admin".to_owned(), password: "hunter2".to_owned() };
    Client::new(&server, &login)
}

fn request(method: Method, body: &str) -> Request {
    Request { method, path: "/api/v1/x?y=z".to_owned(), body: body.to_owned() }
}

/// What comes up to the end of the head, and of a body of `{}`.
fn read(stream: &mut impl Read) -> String {
    let mut told = String::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        told.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        let has_body = told.to_lowercase().contains("content-length");
        let is_whole = told.ends_with("\r\n\r\n") && !has_body || told.ends_with("{}");
        if is_whole || read == 0 {
            return told;
        }
    }
}

/// Answers one connection after the other with these; what it was asked.
fn server(answers: Vec<&'static str>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = move || {
        let answer = |answer: &str| {
            let (mut stream, _) = listener.accept().unwrap();
            let told = read(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            told
        };
        answers.into_iter().map(answer).collect()
    };
    (url, thread::spawn(serve))
}

#[tokio::test]
async fn it_logs_in_comes_back_with_its_session_and_says_who_requests() {
    let refusal = "HTTP/1.1 500 x\r\nContent-Length: 1\r\n\r\n\u{e4}";
    let (url, told) = server(vec![OK, refusal]);
    let client = client(&url, None).unwrap();
    let first = client.ask(request(Method::Get, ""), LONG).await.unwrap();
    assert_eq!(first, Answer { status: 200, body: "yo".to_owned() });
    // No status is an error, and no letter either.
    let second = client.ask(request(Method::Put, "{}"), LONG).await.unwrap();
    assert_eq!(second.status, 500);
    let told: Vec<String> = told.join().unwrap().iter().map(|it| it.to_lowercase()).collect();
    assert!(told[0].starts_with("get /api/v1/x?y=z http/1.1\r\n"), "{told:?}");
    assert!(told[0].contains("authorization: basic ywrtaw46ahvudgvymg==\r\n"), "{told:?}");
    assert!(!told[0].contains("cookie"));
    for line in ["cookie: ambarisessionid=node1\r\n", "x-requested-by: headship\r\n"] {
        assert!(told[1].contains(line), "{told:?}");
    }
    assert!(told[1].ends_with("\r\n\r\n{}"));
}

#[tokio::test]
async fn silence_ends_at_the_limit_and_no_error_tells_the_login() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = client(&url, None).unwrap();
    let begun = Instant::now();
    let why = client.ask(request(Method::Get, ""), Duration::from_millis(200)).await.unwrap_err();
    assert!(begun.elapsed() < LONG && why.contains("does not answer"), "{why}");
    drop(listener);
    let refused = client.ask(request(Method::Get, ""), LONG).await.unwrap_err();
    for text in [why, refused, format!("{client:?}")] {
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{text}");
    }
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { issuer: Issuer::new(params, key), pem }
}

/// Answers one connection over TLS, as `localhost`.
fn tls_server(authority: &Authority) -> (String, JoinHandle<bool>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config =
        ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
    let listener = TcpListener::bind("localhost:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let serve = move || {
        let (stream, _): (TcpStream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut first = [0; 1];
        // Whoever does not trust us says so instead.
        if stream.read_exact(&mut first).is_err() {
            return false;
        }
        read(&mut stream);
        stream.write_all(OK.as_bytes()).is_ok()
    };
    (url, thread::spawn(serve))
}

#[tokio::test]
async fn only_what_stands_in_the_file_vouches_for_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, others) = (authority(), authority());
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let trusted = path("ours.pem", &format!("{}{}", others.pem, ours.pem));
    let (url, served) = tls_server(&ours);
    let client_of = |url: &str, file: &Path| client(url, Some(file));
    let answer = client_of(&url, &trusted).unwrap().ask(request(Method::Get, ""), LONG).await;
    assert_eq!(answer.unwrap().status, 200);
    assert!(served.join().unwrap());
    let (url, served) = tls_server(&ours);
    let stranger = path("others.pem", &others.pem);
    let why = client_of(&url, &stranger).unwrap().ask(request(Method::Get, ""), LONG).await;
    assert!(why.unwrap_err().contains("does not answer"));
    assert!(!served.join().unwrap());
    for (name, text) in [("empty.pem", ""), ("key.pem", "nonsense")] {
        let why = client_of(&url, &path(name, text)).unwrap_err();
        assert!(why.contains("has no certificate in it"), "{why}");
    }
    assert!(client_of(&url, &dir.path().join("missing")).unwrap_err().contains("cannot be read"));
}
