//! What several tests here need.

use belljar_model::container::ProcessRef;
use belljar_model::{Container, State};

/// A container that runs.
pub(crate) fn running(name: &str) -> Container {
    let config = serde_json::from_str(&format!(r#"{{"name":"{name}","image":"host","command":["sleep","1d"]}}"#)).expect("a config");
    let container = crate::new_container(config).expect("random bytes");
    Container { state: State::Running, init: Some(ProcessRef { pid: 1, start_ticks: 0 }), ..container }
}
