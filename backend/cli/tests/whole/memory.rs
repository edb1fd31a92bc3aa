//! Memory: what is killed for want of it is told with limit, peak and process; what has no limit is not killed.

use belljar_testbed::server::rows;
use serde_json::json;

const LIMIT_BYTES: u64 = 4 << 20;

#[test]
fn a_container_out_of_memory_is_told_with_its_limit_peak_and_process() {
    let Some(server) = crate::server() else { return };
    let limits = json!({"memory_bytes": LIMIT_BYTES, "memory_swap_bytes": 0});
    server.create(&json!({"image": "host", "name": "greedy", "command": ["tail", "/dev/zero"], "limits": limits}));

    let exit = server.wait_for_state("greedy", "stopped")["exit"].clone();
    assert_eq!(exit["kind"], "out_of_memory", "{exit}");
    let kill = &exit["out_of_memory"];
    assert_eq!((&kill["limit_bytes"], &kill["process"]), (&json!(LIMIT_BYTES), &json!("tail")), "{exit}");
    let peak_bytes = kill["peak_bytes"].as_u64().expect("the peak is told");
    assert!(peak_bytes > 0 && peak_bytes <= LIMIT_BYTES, "{peak_bytes}");

    let message = exit["message"].as_str().expect("it is told as a sentence");
    assert!(message.starts_with("out of memory, limit 4 MiB, peak ") && message.contains(", process tail"), "{message}");
    let events = rows(&server.api().get("/api/v1/containers/greedy/events").expect(200).json());
    let event = events.iter().find(|event| event["kind"] == "out_of_memory").expect("it is an event");
    assert!(event["message"].as_str().is_some_and(|told| told.contains("limit 4 MiB") && told.contains("process tail")), "{event}");
    let page = server.api().get("/containers/greedy").expect(200).text().to_lowercase();
    for words in ["out of memory", "limit 4 mib, peak ", "process tail"] {
        assert!(page.contains(words), "the page says {words:?}");
    }
}

/// The same appetite, with an end: sixteen times the memory that the other test dies of.
#[test]
fn the_same_without_the_limit_is_not_killed() {
    let Some(server) = crate::server() else { return };
    server.run_script("free", "head -c 64M /dev/zero | tail | wc -c");
    let exit = server.wait_for_state("free", "stopped")["exit"].clone();
    assert_eq!((&exit["kind"], &exit["code"]), (&json!("exited"), &json!(0)), "{exit}");
    assert!(server.logs("free").contains("67108864"));
}

#[test]
fn the_figures_of_a_container_equal_the_kernels_files() {
    let Some(server) = crate::server() else { return };
    let limits = json!({"memory_bytes": 64 << 20, "pids": 16, "cpus": 0.5});
    server.create(&json!({"image": "host", "name": "measured", "command": ["sleep", "1d"], "limits": limits}));
    let cgroup = server.api().get("/api/v1/containers/measured/cgroup").expect(200).json();
    let controllers = cgroup["controllers"].as_array().expect("controllers are listed");
    let figures = controllers.iter().flat_map(|controller| rows(&controller["limits"]));
    let mut seen = 0;
    for figure in figures {
        let source = figure["source"].as_str().expect("every figure names its file");
        if figure["value"].is_null() {
            assert!(!std::path::Path::new(source).exists(), "{source} is there, and is told as unknown");
            continue;
        }
        let kernel = std::fs::read_to_string(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        let raw = figure["raw"].as_str().unwrap_or_default();
        assert!(kernel.contains(raw.trim()), "{source} holds {kernel:?}, told was {raw:?}");
        seen += 1;
    }
    assert!(seen >= 3, "limits of memory, pids and cpu are told: {cgroup}");
}
