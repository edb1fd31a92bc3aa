//! Overlay: what a container changes lies in its own layer; it outlives a stop and not a delete.

use std::fs;
use std::path::PathBuf;

use belljar_testbed::server::rows;
use belljar_testbed::{Server, wait_until};
use serde_json::{Value, json};

const SCRIPT: &str = "test -e /rw.txt && echo kept; echo more >> /ro.txt; echo new > /rw.txt; rm -f /gone.txt; echo changed; exec sleep 1d";

fn layer(server: &Server) -> PathBuf {
    let layer = server.scratch("layer");
    fs::write(layer.join("ro.txt"), "from the layer\n").unwrap();
    fs::write(layer.join("gone.txt"), "to be deleted\n").unwrap();
    layer
}

fn body(layer: &PathBuf) -> Value {
    let mounts = json!([{"type": "layer", "source": layer}]);
    json!({"image": "host", "name": "changing", "command": ["sh", "-c", SCRIPT], "mounts": mounts})
}

fn status_of(server: &Server, path: &str) -> Option<String> {
    let changes = rows(&server.api().get("/api/v1/containers/changing/overlay/changes").expect(200).json());
    let change = changes.into_iter().find(|change| change["path"] == path)?;
    change["status"].as_str().map(str::to_owned)
}

#[test]
fn what_a_container_changes_is_told_and_the_layer_below_stays_as_it_was() {
    let Some(server) = crate::server() else { return };
    let layer = layer(&server);
    server.create(&body(&layer));
    server.wait_for_log("changing", "changed");

    for (path, status) in [("/ro.txt", "modified"), ("/rw.txt", "added"), ("/gone.txt", "deleted")] {
        assert_eq!(status_of(&server, path).as_deref(), Some(status), "{path}");
    }
    assert_eq!(fs::read_to_string(layer.join("ro.txt")).unwrap(), "from the layer\n");
    assert_eq!(fs::read_to_string(layer.join("gone.txt")).unwrap(), "to be deleted\n");
    assert!(!layer.join("rw.txt").exists());

    let files = rows(&server.api().get("/api/v1/containers/changing/overlay/files?path=/").expect(200).json());
    let entry = |name: &str| files.iter().find(|entry| entry["name"] == name).unwrap_or_else(|| panic!("{name} in {files:?}"));
    assert_eq!(entry("gone.txt")["status"], "deleted");
    assert_eq!(entry("usr")["status"], "unchanged");
    let page = server.api().get("/containers/changing/overlay").expect(200).text();
    for name in ["ro.txt", "rw.txt", "gone.txt"] {
        assert!(page.contains(name), "the page shows {name}");
    }
}

#[test]
fn changes_outlive_a_stop_and_not_a_delete() {
    let Some(server) = crate::server() else { return };
    let layer = layer(&server);
    server.create(&body(&layer));
    server.wait_for_log("changing", "changed");
    server.act("changing", "stop");
    assert_eq!(server.container("changing")["state"], "stopped");
    assert_eq!(status_of(&server, "/rw.txt").as_deref(), Some("added"), "told of a stopped container too");
    server.act("changing", "start");
    server.wait_for_log("changing", "kept");

    server.api().delete("/api/v1/containers/changing?force=true").expect(204);
    server.api().get("/api/v1/containers/changing").expect(404);
    let container = server.create(&body(&layer));
    wait_until("it has run", || server.logs("changing").contains("changed").then_some(()));
    assert!(!server.logs("changing").contains("kept"), "{container}");
}
