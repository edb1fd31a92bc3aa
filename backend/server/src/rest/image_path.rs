//! Names of images in paths: `/images/ghcr.example/a/b:tag/history` means what `/images/ghcr.example%2Fa%2Fb:tag/history` means.
//!
//! A route has one segment for a name, and names have slashes. People write them as they are; so before anything is routed, the
//! slashes of a name are escaped. A last part that is a deed of that method belongs to the route: who means a repository of that
//! name escapes it. An image or a volume may be called as a fixed route is: only POST, which no name answers by itself, means the route.

use axum::extract::Request;
use axum::http::{Method, Uri};

/// What stands below a folder and is no name where it is asked by POST.
const FIXED: [&str; 5] = ["/images/pull", "/images/import", "/images/prune", "/images/verify", "/volumes/prune"];
/// What can be asked of one image, by method.
const DEEDS: [(Method, &str); 3] = [(Method::GET, "history"), (Method::GET, "export"), (Method::POST, "tag")];

/// The request with its path in the form that is routed.
pub(super) fn escaped<B>(mut request: Request<B>) -> Request<B> {
    let Some(path) = escape(request.method(), request.uri().path()) else { return request };
    let with_query = request.uri().query().map_or(path.clone(), |query| format!("{path}?{query}"));
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = with_query.parse().ok();
    // What was a path and had its slashes escaped is one still.
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// The path with the slashes of its name escaped; `None` where it has none, or names none. By another method than POST a fixed path is a
/// name like any other: escaped, it is no longer the fixed route's.
fn escape(method: &Method, path: &str) -> Option<String> {
    if FIXED.contains(&path) {
        let (folder, name) = path.rsplit_once('/').filter(|_| method != Method::POST)?;
        let first = name.bytes().next()?;
        return Some(format!("{folder}/%{first:02X}{}", &name[1..]));
    }
    let (folder, rest) =
        [("/images/", true), ("/pulls/", false), ("/registries/", false)].into_iter().find_map(|(folder, has_deeds)| {
            let rest = path.strip_prefix(folder)?;
            Some(((folder, has_deeds), rest))
        })?;
    let (folder, has_deeds) = folder;
    if !rest.contains('/') {
        return None;
    }
    let deed = rest.rsplit_once('/').filter(|(_, deed)| has_deeds && DEEDS.iter().any(|(of, word)| of == method && word == deed));
    let (name, deed) = deed.map_or((rest, None), |(name, deed)| (name, Some(deed)));
    let name = name.replace('/', "%2F");
    Some(deed.map_or_else(|| format!("{folder}{name}"), |deed| format!("{folder}{name}/{deed}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_however_it_was_written() {
        for (method, path, routed) in [
            (Method::GET, "/images/nginx", None),
            (Method::GET, "/images/nginx:1/history", Some("/images/nginx:1/history")),
            (Method::GET, "/images/a/b", Some("/images/a%2Fb")),
            (Method::DELETE, "/images/127.0.0.1:5000/a/b:1", Some("/images/127.0.0.1:5000%2Fa%2Fb:1")),
            (Method::GET, "/images/registry.example/a@sha256:0/export", Some("/images/registry.example%2Fa@sha256:0/export")),
            (Method::POST, "/images/a/b/tag", Some("/images/a%2Fb/tag")),
            // Nothing is tagged by GET: this is the image `a/b/tag`.
            (Method::GET, "/images/a/b/tag", Some("/images/a%2Fb%2Ftag")),
            (Method::DELETE, "/images/a/history", Some("/images/a%2Fhistory")),
            (Method::GET, "/images/a%2Fb/history", Some("/images/a%2Fb/history")),
            (Method::POST, "/images/pull", None),
            (Method::GET, "/images/pull", Some("/images/%70ull")),
            (Method::DELETE, "/images/verify", Some("/images/%76erify")),
            (Method::GET, "/images/pull:1", None),
            (Method::POST, "/images/prune/tag", Some("/images/prune/tag")),
            (Method::DELETE, "/volumes/prune", Some("/volumes/%70rune")),
            (Method::DELETE, "/pulls/a/b", Some("/pulls/a%2Fb")),
            (Method::GET, "/containers/a/b", None),
        ] {
            assert_eq!(escape(&method, path).as_deref(), routed, "{method} {path}");
        }
    }

    #[test]
    fn a_query_stays_where_it_is() {
        let request = Request::builder().uri("/images/a/b?x=/y").body(()).expect("a request");
        assert_eq!(escaped(request).uri().to_string(), "/images/a%2Fb?x=/y");
    }
}
