//! What a browser loads: the files of `/static`, inside the executable.
//!
//! A file is asked for as `/static/belljar.css` and checked again with its `ETag` each time; with `?v=` and its version it
//! is kept for good.

use std::sync::LazyLock;

use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use belljar_api::problem::Kind;
use sha2::{Digest, Sha256};

use crate::fault::{Answer, Fault};

/// One file.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $media_type:literal) => {
        Asset { name: $name, media_type: $media_type, bytes: include_bytes!(concat!("../../../static/", $name)) }
    };
}

/// Every file that is served; what else lies in the folder is for readers of the repository.
const ASSETS: [Asset; 7] = [
    asset!("belljar.css", "text/css; charset=utf-8"),
    asset!("live.js", "text/javascript; charset=utf-8"),
    asset!("favicon.svg", "image/svg+xml"),
    asset!("logo.svg", "image/svg+xml"),
    asset!("history.js", "text/javascript; charset=utf-8"),
    asset!("vendor/uplot/uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    asset!("vendor/uplot/uPlot.min.css", "text/css; charset=utf-8"),
];

/// The version of each file, in their order: the first 16 digits of its SHA-256.
static VERSIONS: LazyLock<[String; ASSETS.len()]> = LazyLock::new(|| ASSETS.map(|asset| version(asset.bytes)));

fn version(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// `GET /static/{*file}`.
pub(crate) async fn serve(Path(name): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap) -> Answer<Response> {
    let index = ASSETS.iter().position(|asset| asset.name == name);
    let index = index.ok_or_else(|| Fault::new(Kind::NotFound, format!("there is no file {name}")))?;
    let (asset, version) = (&ASSETS[index], &VERSIONS[index]);
    let etag = format!("\"{version}\"");
    let is_pinned = query.as_deref().and_then(|query| query.strip_prefix("v=")) == Some(version);
    let keep = if is_pinned { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = match known {
        // A compressed answer's tag is marked as weak by those who compress.
        Some(tags) if tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag) => StatusCode::NOT_MODIFIED.into_response(),
        _ => asset.bytes.into_response(),
    };
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    answer.insert(header::ETAG, HeaderValue::try_from(etag).map_err(|error| Fault::internal(&error))?);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(name: &str, query: Option<String>, known: Option<&str>) -> (StatusCode, HeaderMap) {
        let mut headers = HeaderMap::new();
        if let Some(tag) = known {
            headers.insert(header::IF_NONE_MATCH, tag.parse().expect("a header"));
        }
        let response = serve(Path(name.into()), RawQuery(query), headers).await.into_response();
        (response.status(), response.headers().clone())
    }

    #[tokio::test]
    async fn a_file_is_checked_again_by_its_tag() {
        let (status, headers) = get("belljar.css", None, None).await;
        assert_eq!((status, &headers[header::CACHE_CONTROL]), (StatusCode::OK, &HeaderValue::from_static("no-cache")));
        let tag = headers[header::ETAG].to_str().expect("text").to_owned();
        assert_eq!(get("belljar.css", None, Some(&tag)).await.0, StatusCode::NOT_MODIFIED);
        assert_eq!(get("belljar.css", None, Some(&format!("\"x\", W/{tag}"))).await.0, StatusCode::NOT_MODIFIED);
        assert_eq!(get("belljar.css", None, Some("\"other\"")).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_file_of_a_known_version_is_kept_for_good() {
        let pinned = get("live.js", Some(format!("v={}", VERSIONS[1])), None).await.1;
        assert!(pinned[header::CACHE_CONTROL].to_str().expect("text").contains("immutable"));
        assert_eq!(get("live.js", Some("v=0".into()), None).await.1[header::CACHE_CONTROL], "no-cache");
    }

    #[tokio::test]
    async fn what_is_not_listed_is_not_there() {
        for name in ["../Cargo.toml", "", "belljar.css/"] {
            assert_eq!(get(name, None, None).await.0, StatusCode::NOT_FOUND, "{name}");
        }
    }
}
