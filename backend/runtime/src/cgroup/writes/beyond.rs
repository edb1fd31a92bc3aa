//! What Belljar's own limits say beyond the specification's words, as files and values.

use belljar_model::Invalid;
use belljar_model::cgroup::Version;

use super::{Checked, List, Otherwise, field_name, limit};
use crate::cgroup::resources::Beyond;
use crate::cgroup::weights::{bfq_of_weight, shares_of_weight};

/// Whether it runs only where nobody else wants to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    Yes,
    No,
}

impl List<'_> {
    pub(super) fn beyond(&mut self, beyond: &Beyond, idle: Idle) -> Checked<()> {
        self.soft_memory(beyond)?;
        // Whoever is idle has no weight: the kernel refuses one.
        if let Some(weight) = beyond.cpu_weight.filter(|_| idle == Idle::No) {
            let part = self.part("beyond.cpuWeight", "cpu")?;
            match part.version {
                Version::V1 => self.push(part, "cpu.shares", shares_of_weight(weight)),
                Version::V2 => self.push(part, "cpu.weight", weight),
            };
        }
        for (field, file, above) in
            [("beyond.cpusAbove", "cpuset.cpus", &beyond.cpus_above), ("beyond.memsAbove", "cpuset.mems", &beyond.mems_above)]
        {
            let Some(above) = above else { continue };
            let part = self.part(field, "cpuset")?;
            match part.version {
                Version::V1 => drop(self.push(part, file, above)),
                // An empty line is v2's word for "whatever is above", also when that changes; nothing at all would not reach the
                // kernel. Older ones (6.1 does) do not let a list be emptied while somebody runs.
                Version::V2 => self.push(part, file, "\n").otherwise = Otherwise::Listed(above.clone()),
            }
        }
        if let Some(weight) = beyond.io_weight {
            self.disk_weight("beyond.ioWeight", "", Some(weight))?;
        }
        for (index, device) in beyond.io_weight_device.iter().enumerate() {
            let number = format!("{}:{} ", device.major, device.minor);
            self.disk_weight(&format!("beyond.ioWeightDevice[{index}]"), &number, device.weight)?;
        }
        Ok(())
    }

    fn soft_memory(&mut self, beyond: &Beyond) -> Checked<()> {
        if let Some(high) = beyond.memory_high {
            let part = self.part("beyond.memoryHigh", "memory")?;
            match part.version {
                Version::V2 => drop(self.push(part, "memory.high", limit(Version::V2, high))),
                // Taking away what no v1 has.
                Version::V1 if high < 0 => {}
                Version::V1 => return Err(only_v2("beyond.memoryHigh")),
            }
        }
        if beyond.no_reservation == Some(true) {
            let part = self.part("beyond.noReservation", "memory")?;
            match part.version {
                Version::V1 => self.push(part, "memory.soft_limit_in_bytes", -1),
                Version::V2 => self.push(part, "memory.low", 0),
            };
        }
        if let Some(group) = beyond.oom_group {
            let part = self.part("beyond.oomGroup", "memory")?;
            match part.version {
                Version::V2 => drop(self.push(part, "memory.oom.group", u8::from(group))),
                Version::V1 if !group => {}
                Version::V1 => return Err(only_v2("beyond.oomGroup")),
            }
        }
        Ok(())
    }

    /// Which scheduler of a disk weighs is the host's choice, and may differ from disk to disk: each that this kernel has is told.
    fn disk_weight(&mut self, field: &str, device: &str, weight: Option<u32>) -> Checked<()> {
        let part = self.disk_part(field)?;
        let word = |weight: Option<u32>| weight.map_or("default".to_owned(), |weight| weight.to_string());
        let bfq = format!("{device}{}", word(weight.map(bfq_of_weight)));
        if part.version == Version::V1 {
            let file = if device.is_empty() { "blkio.bfq.weight" } else { "blkio.bfq.weight_device" };
            self.push(part, file, bfq);
            return Ok(());
        }
        let line = |text: String| if device.is_empty() { format!("default {text}") } else { text };
        let own = line(format!("{device}{}", word(weight)));
        self.push(part, "io.bfq.weight", line(bfq)).otherwise = Otherwise::Instead { file: "io.weight", value: own.clone() };
        self.push(part, "io.weight", own).otherwise = Otherwise::Fine;
        Ok(())
    }
}

fn only_v2(field: &str) -> Invalid {
    Invalid::new(field_name(field), "cannot be enforced: only cgroup v2 has such a thing, and this host's memory controller is v1's")
}
