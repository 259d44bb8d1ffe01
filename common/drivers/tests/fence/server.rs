//! An ssh server on this machine whose only answer is that of `host`.

use std::cell::RefCell;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use headship_drivers::fence::Fence;

use super::{Folder, LONG};

const SSHD: &str = "/usr/sbin/sshd";

pub(crate) struct Server<'a> {
    folder: &'a Folder,
    sshd: RefCell<Child>,
    port: String,
    pub(crate) fence: Fence,
}

impl<'a> Server<'a> {
    /// A server whose host shows this behaviour; `None`, and said so, where there is no sshd.
    pub(crate) fn start(folder: &'a Folder, behaviour: &str) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            println!("skipped: the package openssh-server is not installed");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = port.to_string();
        for key in ["host_key", "key"] {
            let file = folder.path(key);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&file)
                .status()
                .unwrap();
            assert!(made.success());
        }
        fs::copy(folder.path("key.pub"), folder.path("authorized_keys")).unwrap();
        let key = fs::read_to_string(folder.path("host_key.pub")).unwrap();
        fs::write(folder.path("known_hosts"), format!("[127.0.0.1]:{port} {key}")).unwrap();
        let dir = folder.path("").display().to_string();
        let dir = dir.trim_end_matches('/');
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {dir}/host_key\nPidFile none\n\
             AuthorizedKeysFile {dir}/authorized_keys\nStrictModes no\nUsePAM no\n\
             PermitRootLogin prohibit-password\nForceCommand {dir}/host {behaviour} {dir}\n"
        );
        fs::write(folder.path("sshd_config"), text).unwrap();
        // sshd wants it when it runs as root; Debian makes it with the unit.
        drop(fs::create_dir("/run/sshd"));
        let sshd = Command::new(SSHD)
            .args(["-D", "-q", "-f"])
            .arg(folder.path("sshd_config"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + LONG;
        while TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
            assert!(Instant::now() < end, "sshd does not listen");
            sleep(Duration::from_millis(20));
        }
        let fence = folder.fence(&format!(
            "method = \"ssh\"\narguments = [\"-F\", \"none\", \"-p\", \"{port}\", \"-i\", \"{dir}/key\", \"-o\", \"UserKnownHostsFile={dir}/known_hosts\", \"-o\", \"GlobalKnownHostsFile=none\"]\n"
        ));
        Some(Self { folder, sshd: RefCell::new(sshd), port, fence })
    }

    pub(crate) fn stop(&self) {
        let mut sshd = self.sshd.borrow_mut();
        drop(sshd.kill());
        drop(sshd.wait());
    }

    /// The command lines of ssh processes that are connected to it.
    pub(crate) fn clients(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|it| fs::read(it.path().join("cmdline")).ok());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
        let port = format!(" -p {} ", self.port);
        lines.filter(|line| line.starts_with("/usr/bin/ssh ") && line.contains(&port)).collect()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.stop();
        // What it ran for us is in sessions of its own.
        let left = self.folder.living();
        drop(Command::new("kill").arg("-KILL").args(left).stderr(Stdio::null()).status());
    }
}
