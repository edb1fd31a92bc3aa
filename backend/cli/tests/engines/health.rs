//! Health checks, which are programs executed inside, again and again.

use belljar_testbed::wait_until;

use crate::engine::{Engine, Kind};
use crate::under_both;

under_both!(a_health_check_turns_healthy_and_unhealthy);

fn a_health_check_turns_healthy_and_unhealthy(engine: &Engine) {
    let flags = ["--health-cmd", "test -e /tmp/well", "--health-interval=200ms", "--health-retries=2", "--health-timeout=5s"];
    engine.start_script("one", &flags, "touch /tmp/well; sleep 1d");
    wait_until("it is healthy", || (health(engine) == "healthy").then_some(()));
    engine.call(&["exec", "one", "rm", "/tmp/well"]);
    wait_until("it is unhealthy", || (health(engine) == "unhealthy").then_some(()));
    engine.call(&["exec", "one", "touch", "/tmp/well"]);
    wait_until("it is healthy again", || (health(engine) == "healthy").then_some(()));
}

/// The state of health; podman looks when it is told to, where no systemd does so.
fn health(engine: &Engine) -> String {
    if engine.kind == Kind::Podman {
        let _healthy_or_not = engine.output(&["healthcheck", "run", "one"]);
    }
    let state = engine.inspect("one")["State"].clone();
    let health = if state["Health"].is_null() { &state["Healthcheck"] } else { &state["Health"] };
    health["Status"].as_str().unwrap_or_default().to_owned()
}
