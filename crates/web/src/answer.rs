//! From a request to its response.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
};

use crate::{Answer, Pages};

const READ_ONLY: &[Method] = &[Method::GET, Method::HEAD];

/// Answers a request. What it carries beside method and path is not looked at.
pub(crate) async fn answer<B>(request: Request<B>, pages: &impl Pages) -> Response<Full<Bytes>> {
    if let Some(refusal) = refusal_of(&request) {
        return refusal;
    }
    match pages.page(request.uri().path()).await {
        Answer::Page { content_type, body } => response(StatusCode::OK, content_type, body),
        Answer::NotFound => {
            text(StatusCode::NOT_FOUND, "there is no such page; the state of this daemon is at /json\n")
        }
        Answer::Unavailable => text(StatusCode::SERVICE_UNAVAILABLE, "this daemon is ending\n"),
    }
}

/// Why a request is not answered; each passes here before anything is looked up. The status is for everybody who reaches the
/// port, as Spark's is, whether or not the cluster has a secret: a filter of who may see it has its place here (Spark:
/// `spark.ui.filters`).
fn refusal_of<B>(request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    if READ_ONLY.contains(request.method()) {
        return None;
    }
    let reason = "nothing can be changed here: GET and HEAD alone are served\n";
    let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, reason);
    refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(refusal)
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", Bytes::from_static(body.as_bytes()))
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // The next look shows how things stand then.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Names are of peers' choice: no browser may take them for a script, or show them within another's page.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}
