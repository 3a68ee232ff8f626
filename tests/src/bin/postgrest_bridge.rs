//! `postgrest_bridge postgrest.conf`: an HTTP server in front of a database that answers as PostgREST would
//! with this configuration, for the requests that the tests and the demonstration make, and no others. With
//! `server-port = 0` it takes a free port. It says on standard output where it listens.
//!
//! For tests on 127.0.0.1 alone: no TLS, no limits.

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use refresh_tokens_tests::postgrest::{Config, PostgRest, Request, Response};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

/// As large as the header of a request may be with PostgREST's HTTP server.
const LARGEST_HEADER: usize = 50 * 1024;

fn main() {
    let path = std::env::args_os()
        .nth(1)
        .expect("usage: postgrest_bridge FILE");
    let config = Config::read(Path::new(&path));
    let address = format!(
        "{}:{}",
        config.get("server-host"),
        config.get("server-port")
    );
    let server = Arc::new(PostgRest::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async move {
        let listener = TcpListener::bind(&address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        println!("listening on http://{address}");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(serve(Arc::clone(&server), stream));
        }
    });
}

async fn serve(server: Arc<PostgRest>, stream: TcpStream) {
    let service = service_fn(move |request| answer(Arc::clone(&server), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(LARGEST_HEADER)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        eprintln!("a connection ended: {error}");
    }
}

async fn answer(
    server: Arc<PostgRest>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Ok(plain(400, "the body did not arrive"));
    };
    let headers = parts.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.as_str().to_owned(), value.into_owned())
    });
    let request = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: body.to_bytes().to_vec(),
        forged_headers: None,
    };
    // Its connections to the database block.
    let answer = tokio::task::spawn_blocking(move || server.answer(&request)).await;
    Ok(answer.map_or_else(
        |_| plain(500, "Something went wrong"),
        |response| translate(&response),
    ))
}

fn translate(response: &Response) -> hyper::Response<Full<Bytes>> {
    let mut builder = hyper::Response::builder().status(response.status);
    for (name, value) in &response.headers {
        builder = builder.header(name, value);
    }
    let body = Full::new(Bytes::from(response.body.clone()));
    (builder.body(body))
        .unwrap_or_else(|_| plain(500, "a header or a status that HTTP doesn't have"))
}

fn plain(status: u16, text: &'static str) -> hyper::Response<Full<Bytes>> {
    let mut response = hyper::Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status of HTTP");
    response
}
