//! How long something waited on the whole machine: `/proc/pressure`, in the same words as a cgroup's pressure files.

use belljar_model::usage::Pressure;

use super::parse::stall;

/// The machine's pressure now; `None` where its kernel does not measure any.
pub fn host_pressure() -> Option<Pressure> {
    let read = |name: &str| stall(&std::fs::read_to_string(format!("/proc/pressure/{name}")).ok()?);
    let pressure = Pressure { cpu: read("cpu"), memory: read("memory"), io: read("io") };
    (pressure != Pressure::default()).then_some(pressure)
}
