//! What a container may use. *Limits* are what was asked; *usage* is what was measured ([`crate::usage`]).

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Least memory that a limit may ask for: below it not even the first page tables of a program fit.
pub const MEMORY_BYTES_MIN: u64 = 1 << 20;
/// Least share of a processor: the kernel refuses a quota below 1 ms, which is 0.01 of the 100 ms period.
pub const CPUS_MIN: f64 = 0.01;

/// Limits of one container; what is `None` is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Swap *on top of* memory, in bytes; 0 means none. Needs `memory_bytes`.
    pub memory_swap_bytes: Option<u64>,
    /// Processors: 0.5 is half of one; enforced as a quota per 100 ms.
    pub cpus: Option<f64>,
    /// Processes and threads at one time.
    pub pids: Option<u32>,
}

/// What this host has at most, to refuse a limit that could never be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostCapacity {
    /// `MemTotal` of `/proc/meminfo`, in bytes.
    pub memory_bytes: u64,
    /// Processors online.
    pub cpus: u32,
    /// `/proc/sys/kernel/pid_max`.
    pub pids: u32,
}

impl Limits {
    /// Refuses what is absurd, contradicts itself, or is above what the host has. Fields are named `limits.…`.
    pub fn check(&self, host: &HostCapacity) -> Result<(), Invalid> {
        if let Some(bytes) = self.memory_bytes {
            within("limits.memory_bytes", bytes, MEMORY_BYTES_MIN, host.memory_bytes, "bytes")?;
        }
        match (self.memory_swap_bytes, self.memory_bytes) {
            (Some(_), None) => return Err(Invalid::new("limits.memory_swap_bytes", "needs limits.memory_bytes beside it")),
            (Some(swap), Some(memory)) if swap.checked_add(memory).is_none_or(|sum| sum > i64::MAX as u64) => {
                return Err(Invalid::new("limits.memory_swap_bytes", "is larger than any machine's swap"));
            }
            _ => {}
        }
        if let Some(cpus) = self.cpus
            && !(cpus.is_finite() && (CPUS_MIN..=f64::from(host.cpus)).contains(&cpus))
        {
            return Err(Invalid::new(
                "limits.cpus",
                format!("must be between {CPUS_MIN} and {}, the processors of this host, not {cpus}", host.cpus),
            ));
        }
        self.pids.map_or(Ok(()), |pids| within("limits.pids", u64::from(pids), 1, u64::from(host.pids), "processes"))
    }
}

fn within(field: &str, value: u64, least: u64, most: u64, unit: &str) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(Invalid::new(field, format!("must be between {least} and {most} {unit} on this host, not {value}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostCapacity = HostCapacity { memory_bytes: 8 << 30, cpus: 2, pids: 32768 };

    #[test]
    fn limits_that_the_host_can_keep_are_accepted() {
        let limits = Limits { memory_bytes: Some(4 << 20), memory_swap_bytes: Some(0), cpus: Some(0.5), pids: Some(64) };
        assert_eq!(limits.check(&HOST), Ok(()));
        assert_eq!(Limits::default().check(&HOST), Ok(()));
    }

    #[test]
    fn absurd_limits_name_their_field() {
        let cases = [
            (Limits { memory_bytes: Some(9 << 30), ..Limits::default() }, "limits.memory_bytes"),
            (Limits { memory_bytes: Some(0), ..Limits::default() }, "limits.memory_bytes"),
            (Limits { memory_swap_bytes: Some(1), ..Limits::default() }, "limits.memory_swap_bytes"),
            (Limits { memory_bytes: Some(4 << 20), memory_swap_bytes: Some(u64::MAX), ..Limits::default() }, "limits.memory_swap_bytes"),
            (Limits { cpus: Some(2.5), ..Limits::default() }, "limits.cpus"),
            (Limits { cpus: Some(-1.0), ..Limits::default() }, "limits.cpus"),
            (Limits { cpus: Some(f64::NAN), ..Limits::default() }, "limits.cpus"),
            (Limits { pids: Some(0), ..Limits::default() }, "limits.pids"),
        ];
        for (limits, field) in cases {
            assert_eq!(limits.check(&HOST).map_err(|invalid| invalid.field), Err(field.to_owned()), "{limits:?}");
        }
    }
}
