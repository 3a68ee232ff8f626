//! PostgREST in front of a test's database: its model in this process, or a program that listens.

use super::{Config, PostgRest, Request, Response};
use crate::race::wait_until;
use postgres::Client;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Something that answers requests.
pub enum Served {
    /// The model.
    Model(Box<PostgRest>),
    /// A program with a configuration file of its own.
    Program(Program),
}

/// A program that has been started with a configuration file, and is stopped when dropped.
pub struct Program {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Served {
    /// The model, or the PostgREST that `REFRESH_TOKENS_POSTGREST` names. It knows what is in the database by
    /// now: of what comes later a real one has to be told, see [`Served::reload`].
    pub fn start(config: Config) -> Self {
        match std::env::var_os("REFRESH_TOKENS_POSTGREST") {
            Some(program) => Self::Program(Program::postgrest(Path::new(&program), config)),
            None => Self::Model(Box::new(PostgRest::new(config))),
        }
    }

    /// Whether this is a real PostgREST.
    pub fn is_real(&self) -> bool {
        matches!(self, Self::Program(_))
    }

    /// The answer to a request.
    ///
    /// # Panics
    /// There is none.
    pub fn answer(&self, request: &Request) -> Response {
        match self {
            Self::Model(model) => model.answer(request),
            Self::Program(program) => program.answer(request),
        }
    }

    /// Says that functions or the configuration in the database have changed. `answers_anew` tells whether it
    /// has been noticed.
    pub fn reload(&self, client: &mut Client, answers_anew: impl FnMut() -> bool) {
        if self.is_real() {
            client
                .batch_execute("NOTIFY pgrst")
                .expect("a notification");
            wait_until("PostgREST has reloaded", answers_anew);
        }
    }
}

impl Program {
    /// Starts the bridge, which says where it listens.
    ///
    /// # Panics
    /// It doesn't start.
    pub fn bridge(program: &Path, config: Config) -> Self {
        let (mut command, folder) = with_file(program, &config.with("server-port", "0"));
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bridge is built");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line
            .trim_end()
            .rsplit('/')
            .next()
            .expect("an address")
            .to_owned();
        Self {
            child,
            address,
            _folder: folder,
        }
    }

    /// Starts a real PostgREST.
    ///
    /// # Panics
    /// It doesn't come to answer.
    pub fn postgrest(program: &Path, config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener
            .local_addr()
            .expect("an address")
            .port()
            .to_string();
        drop(listener);
        let (mut command, folder) = with_file(program, &config.with("server-port", &port));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let address = format!("127.0.0.1:{port}");
        let program = Self {
            child: child.expect("PostgREST is there"),
            address,
            _folder: folder,
        };
        wait_until("PostgREST answers", || {
            let answer = exchange(&program.address, &Request::get("/"));
            answer.is_some_and(|answer| answer.status != 503)
        });
        program
    }

    /// Where it listens: `http://127.0.0.1:12345`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The answer to a request.
    ///
    /// # Panics
    /// There is none.
    pub fn answer(&self, request: &Request) -> Response {
        exchange(&self.address, request).expect("an answer")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_file(program: &Path, config: &Config) -> (Command, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("postgrest.conf");
    fs::write(&path, config.text()).expect("a writable folder");
    let mut command = Command::new(program);
    command.arg(path);
    (command, folder)
}

/// One request over a connection of its own.
fn exchange(address: &str, request: &Request) -> Option<Response> {
    assert!(
        request.forged_headers.is_none(),
        "no server takes forged settings"
    );
    let mut stream = TcpStream::connect(address).ok()?;
    let query = if request.query.is_empty() { "" } else { "?" };
    // HTTP/1.0, so that nothing is sent in chunks.
    let mut head = format!(
        "{} {}{query}{} HTTP/1.0\r\nHost: {address}\r\n",
        request.method, request.path, request.query
    );
    for (name, value) in &request.headers {
        write!(head, "{name}: {value}\r\n").expect("memory");
    }
    write!(head, "Content-Length: {}\r\n\r\n", request.body.len()).expect("memory");
    stream.write_all(head.as_bytes()).ok()?;
    // A server may refuse the head and close before it has read the body.
    let _ = stream.write_all(&request.body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    parse(&answer)
}

fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Some(Response {
        status,
        headers: headers.collect(),
        body: answer[end + 4..].to_vec(),
    })
}
