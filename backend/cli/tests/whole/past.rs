//! What a container used in the past, as a person asks for it: while it runs, after a crash of the server, and when it is gone.

use std::time::Duration;

use belljar_testbed::Server;
use belljar_testbed::wait::try_wait;
use serde_json::{Value, json};

/// A slot takes ten seconds, and is written when the next one has begun.
const LIMIT: Duration = Duration::from_secs(90);

fn points(server: &Server, key: &str) -> Vec<Value> {
    let history = server.api().get(&format!("/api/v1/containers/{key}/usage/history")).expect(200).json();
    assert_eq!(history["step_ms"], 10_000, "{history}");
    history["points"].as_array().expect("a list").clone()
}

#[test]
fn the_past_of_a_container_survives_the_server_and_the_container() {
    let Some(mut server) = crate::server() else { return };
    let limits = json!({"memory_bytes": 64 << 20, "cpus": 0.2});
    let command = ["sh", "-c", "while :; do :; done"];
    let created = server.create(&json!({"image": "host", "name": "busy", "command": command, "limits": limits}));
    let id = created["id"].as_str().expect("an id");

    let whole = |point: &Value| point["cpu_percent"].as_f64().is_some_and(|percent| percent > 1.0) && !point["memory_bytes"].is_null();
    let look = || points(&server, "busy").into_iter().find(whole);
    let point = try_wait(LIMIT, look).expect("a slot is remembered");
    assert!(point["cpu_percent"].as_f64().expect("a share") < 60.0, "its limit holds it back: {point}");
    assert_eq!((&point["cpus_max"], &point["memory_bytes_max"]), (&json!(0.2), &json!(64 << 20)), "{point}");
    assert!(point["memory_bytes_peak"].as_u64() >= point["memory_bytes"].as_u64(), "{point}");

    server.kill_hard();
    server.start_again();
    assert!(points(&server, "busy").contains(&point), "what was written is not lost");
    let table = crate::belljar(&server, &["stats", "--history", "1h", "busy"]);
    assert!(table.contains("HELD BACK") && table.contains("64 MiB"), "{table}");

    server.api().delete("/api/v1/containers/busy?force=true").expect(204);
    assert!(points(&server, id).contains(&point), "also of what is gone");
    assert!(crate::belljar(&server, &["stats", "--history", "1d", &id[..12]]).contains("64 MiB"));
    server.api().get("/api/v1/containers/busy/usage/history").expect(404);
    let refused = crate::belljar_output(&server, &["stats", "--history", "soon", "busy"]);
    assert!(!refused.status.success());
}
