//! The list page with many containers: the time until it is complete, and what crosses the wire.

use std::time::Instant;

use belljar_testbed::Server;
use belljar_testbed::server::rows;
use serde_json::json;

use super::table::{Spread, Table};

/// How often the page is asked for.
const VIEWS: usize = 100;
/// Time a page may take, in milliseconds.
const TARGET_MS: f64 = 3.0;
/// Bytes a page may take on the wire.
const TARGET_BYTES: f64 = 60e3;

/// Creates containers until there are `listed`, then looks at the list.
pub(crate) fn measure(table: &mut Table, server: &Server, listed: u32) {
    let existing = rows(&server.api().get("/api/v1/containers").expect(200).json()).len();
    for number in existing..usize::try_from(listed).unwrap_or(usize::MAX) {
        let name = format!("listed-{number}");
        server.create(&json!({"image": "host", "name": name, "command": ["sleep", "1d"], "start": false}));
    }
    let view = || server.api().get("/containers").expect(200);
    let times = (0..VIEWS).map(|_| {
        let begun = Instant::now();
        view();
        begun.elapsed()
    });
    table.time(&format!("list page of {listed}, whole answer"), Spread::of(times.collect()), TARGET_MS);
    let plain = view().body.len();
    let packed = server.api().with("accept-encoding", "gzip").get("/containers").expect(200);
    let how = if packed.header("content-encoding") == "gzip" { "gzip" } else { "not compressed" };
    let bytes = u64::try_from(packed.body.len()).unwrap_or(u64::MAX);
    table.bytes(&format!("list page of {listed}, {how} ({plain} bytes plain)"), bytes, TARGET_BYTES);
}
