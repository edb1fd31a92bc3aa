//! What a container may use, in the words of the OCI runtime specification (`linux.resources` of version 1.2): the one
//! language for Belljar's own limits, for a bundle's `config.json` and for an update. Pure data.
//!
//! Absent means *not asked*. Where the specification's own tools take 0 for absent, so do [`super::writes`]. What becomes
//! of each field is decided there; this file must never know a file of the kernel's.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::devices::Rule;

/// Fills every field of `$change` that is not asked from `$current`.
macro_rules! completed {
    ($change:expr, $current:expr, $($field:ident)*) => {{
        let (mut change, current) = ($change.clone(), $current);
        $(if change.$field.is_none() { change.$field = current.$field.clone(); })*
        change
    }};
}

/// Length of the period in which a share of processors is counted, in microseconds: the kernel's default.
pub const CPU_PERIOD_USEC: u64 = 100_000;

/// Everything that can be asked of a cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Which devices may be made and opened: in order, the last rule that matches wins.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Rule>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    /// Block devices.
    #[serde(rename = "blockIO", skip_serializing_if = "Option::is_none")]
    pub block_io: Option<BlockIo>,
    /// Huge pages, by size.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// Classes and priorities of packets (v1 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Remote memory access, by device.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub rdma: BTreeMap<String, Rdma>,
    /// Files of v2 by name, with what is written to them.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub unified: BTreeMap<String, String>,
    /// What the specification has no words for.
    #[serde(skip_serializing_if = "Beyond::is_nothing")]
    pub beyond: Beyond,
}

/// What Belljar's own limits say and the specification has no words for. Weights are v2's, 1 to 10000 with 100 as the usual one: its
/// shares and weights of disks cannot say each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Beyond {
    /// Memory above which its programs are slowed, in bytes; negative is no such limit (v2 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<i64>,
    /// That nothing is reserved for it any more: v2 says that by 0, where the specification's -1 means everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_reservation: Option<bool>,
    /// Whether all of it is killed where one process is, for memory (v2 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_group: Option<bool>,
    /// Weight against others where processors are short, 1 to 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u32>,
    /// The processors of the cgroup above, which it gets back: v1 has to be told which those are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus_above: Option<String>,
    /// The same of memory nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems_above: Option<String>,
    /// Weight against others where a disk is busy, 1 to 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<u32>,
    /// The same on one device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_weight_device: Vec<DeviceWeight>,
}

impl Beyond {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn over(&self, current: &Self) -> Self {
        let mut all = completed!(self, current, memory_high oom_group cpu_weight io_weight);
        all.io_weight_device = by_key(&self.io_weight_device, &current.io_weight_device, |device| (device.major, device.minor));
        all
    }
}

/// A weight on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWeight {
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// Its weight, 1 to 10000; `None` is the one that the cgroup has for every device.
    pub weight: Option<u32>,
}

/// Memory. Every amount is in bytes; -1 is no limit, and 0 is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// At most, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// What is left to it when memory is short, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<i64>,
    /// Memory and swap *together*, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<i64>,
    /// Of the kernel on its behalf, in bytes. No kernel since Linux 5.16 can limit it, so it is read and not used; whoever reads a
    /// bundle warns of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<i64>,
    /// Of the kernel for its TCP, in bytes (v1 only).
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    pub kernel_tcp: Option<i64>,
    /// How readily its pages go to swap: 0 to 100, without a unit (v1 only); 2^64 - 1, Go's -1, is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u64>,
    /// Whether its processes wait, instead of being killed, when it is out of memory (v1 only).
    #[serde(rename = "disableOOMKiller", skip_serializing_if = "Option::is_none")]
    pub disable_oom_killer: Option<bool>,
    /// Whether cgroups below count. Every kernel since Linux 5.11 says yes, so it is read and not used; whoever reads a bundle warns
    /// of a no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_hierarchy: Option<bool>,
    /// Whether a limit below what is used now is refused, where the kernel would kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_before_update: Option<bool>,
}

/// Processors. Every time is in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cpu {
    /// Weight against others, 2 to 262144, without a unit; 1024 is the usual one, and 0 is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Time in each period, in microseconds of all its processors together; negative is no limit, and 0 is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// Time that may be saved up beyond it, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// Length of a period, in microseconds; 0 is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// Time for realtime processes in each of their periods, in microseconds (v1 only); 0 is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_runtime: Option<i64>,
    /// Length of those periods, in microseconds (v1 only); 0 is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_period: Option<u64>,
    /// Which processors: `0-3,7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Which memory nodes: `0-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems: Option<String>,
    /// 1 runs it only where nobody else wants to, 0 as others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<i64>,
}

/// Processes and threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pids {
    /// How many processes and threads at most; negative is no limit, 0 is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockIo {
    /// Weight against others, 10 to 1000, without a unit; 0 is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Weight of its own processes against cgroups below it, 10 to 1000 (v1 only, gone since Linux 5.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
    /// Weights by device.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes read in a second, by device.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes written in a second, by device.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Reads in a second, by device.
    #[serde(rename = "throttleReadIOPSDevice", deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Writes in a second, by device.
    #[serde(rename = "throttleWriteIOPSDevice", deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// A weight for one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightDevice {
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// Its weight, 10 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Its leaf weight, 10 to 1000 (v1 only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
}

/// A rate for one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrottleDevice {
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// In a second: bytes or operations, as the list that it is in says; 0 is no limit.
    pub rate: u64,
}

/// A limit on huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HugepageLimit {
    /// The size: `2MB`, `1GB`, as the kernel's files are named.
    pub page_size: String,
    /// At most, in bytes.
    pub limit: u64,
}

/// What is written on a container's packets (v1 only).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Class for traffic control, as `0xAAAABBBB` for `AAAA:BBBB` of `tc(8)`; 0 is not asked.
    #[serde(rename = "classID", skip_serializing_if = "Option::is_none")]
    pub class_id: Option<u32>,
    /// Priorities by interface.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub priorities: Vec<InterfacePriority>,
}

/// The priority of packets that leave by one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfacePriority {
    /// The interface.
    pub name: String,
    /// Its priority, without a unit: higher leaves first.
    pub priority: u32,
}

/// Limits of one device for remote memory access.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rdma {
    /// How many handles at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_handles: Option<u32>,
    /// How many objects at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_objects: Option<u32>,
}

/// Engines write an absent list as `null`.
fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What was asked and is not 0: engines fill what they do not mean with nothing.
pub(super) fn asked<T: PartialEq + Default>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

impl Memory {
    /// This change over what holds now. A new limit without a word about swap keeps the swap that was asked.
    fn over(&self, current: &Self) -> Self {
        let change = Self {
            limit: asked(self.limit),
            reservation: asked(self.reservation),
            swap: asked(self.swap),
            kernel: asked(self.kernel),
            kernel_tcp: asked(self.kernel_tcp),
            ..self.clone()
        };
        let mut all = completed!(change, current, limit reservation swap kernel kernel_tcp swappiness disable_oom_killer use_hierarchy check_before_update);
        // As runc has it: no limit of memory is none of memory and swap together either, which is counted in it.
        if self.limit == Some(-1) && self.swap.is_none_or(|swap| swap == 0) && all.swap.is_some() {
            all.swap = Some(-1);
        }
        all
    }
}

impl Cpu {
    fn over(&self, current: &Self) -> Self {
        let change = Self {
            shares: asked(self.shares),
            quota: asked(self.quota),
            period: asked(self.period),
            realtime_runtime: asked(self.realtime_runtime),
            realtime_period: asked(self.realtime_period),
            cpus: asked(self.cpus.clone()),
            mems: asked(self.mems.clone()),
            ..self.clone()
        };
        completed!(change, current, shares quota burst period realtime_runtime realtime_period cpus mems idle)
    }
}

impl BlockIo {
    pub(super) fn over(&self, current: &Self) -> Self {
        let change = Self { weight: asked(self.weight), leaf_weight: asked(self.leaf_weight), ..self.clone() };
        let mut all = completed!(change, current, weight leaf_weight);
        let key = |device: &ThrottleDevice| (device.major, device.minor);
        let rates = |change: &[ThrottleDevice], current: &[ThrottleDevice]| by_key(change, current, key);
        all.weight_device = by_key(&self.weight_device, &current.weight_device, |device| (device.major, device.minor));
        all.throttle_read_bps_device = rates(&self.throttle_read_bps_device, &current.throttle_read_bps_device);
        all.throttle_write_bps_device = rates(&self.throttle_write_bps_device, &current.throttle_write_bps_device);
        all.throttle_read_iops_device = rates(&self.throttle_read_iops_device, &current.throttle_read_iops_device);
        all.throttle_write_iops_device = rates(&self.throttle_write_iops_device, &current.throttle_write_iops_device);
        all
    }
}

/// Elements of `current` that `change` does not name, then those of `change`.
fn by_key<T: Clone, K: PartialEq>(change: &[T], current: &[T], key: impl Fn(&T) -> K) -> Vec<T> {
    let kept = current.iter().filter(|old| change.iter().all(|new| key(new) != key(old)));
    kept.chain(change).cloned().collect()
}

impl Resources {
    /// What holds once this change was made to `current`: what is written down after an update.
    pub fn over(&self, current: &Self) -> Self {
        fn part<T: Clone>(change: Option<&T>, current: Option<&T>, over: impl Fn(&T, &T) -> T) -> Option<T> {
            match (change, current) {
                (Some(change), Some(current)) => Some(over(change, current)),
                (change, current) => change.or(current).cloned(),
            }
        }
        let network = |change: &Network, current: &Network| Network {
            class_id: asked(change.class_id).or(current.class_id),
            priorities: by_key(&change.priorities, &current.priorities, |priority| priority.name.clone()),
        };
        Self {
            devices: if self.devices.is_empty() { current.devices.clone() } else { self.devices.clone() },
            memory: part(self.memory.as_ref(), current.memory.as_ref(), Memory::over),
            cpu: part(self.cpu.as_ref(), current.cpu.as_ref(), Cpu::over),
            pids: part(self.pids.as_ref(), current.pids.as_ref(), |change, current| Pids { limit: asked(change.limit).or(current.limit) }),
            block_io: part(self.block_io.as_ref(), current.block_io.as_ref(), BlockIo::over),
            hugepage_limits: by_key(&self.hugepage_limits, &current.hugepage_limits, |limit| limit.page_size.clone()),
            network: part(self.network.as_ref(), current.network.as_ref(), network),
            rdma: current.rdma.clone().into_iter().chain(self.rdma.clone()).collect(),
            unified: current.unified.clone().into_iter().chain(self.unified.clone()).collect(),
            beyond: self.beyond.over(&current.beyond),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_as_engines_write_them_are_read() {
        let text = r#"{"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 5, "minor": 1, "access": "rw"}],
            "memory": {"limit": 4194304, "kernelTCP": -1, "disableOOMKiller": false}, "cpu": {"realtimeRuntime": 950000, "cpus": "0-1", "idle": 1},
            "pids": {"limit": 9}, "blockIO": {"throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 600}], "weightDevice": null},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 9}], "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]},
            "rdma": {"mlx5_1": {"hcaHandles": 3}}, "unified": null, "unknown": 1}"#;
        let resources: Resources = serde_json::from_str(text).unwrap();
        assert_eq!(resources.devices[1].to_string(), "c 5:1 rw");
        let memory = resources.memory.clone().unwrap();
        assert_eq!((memory.limit, memory.kernel_tcp, memory.disable_oom_killer), (Some(4_194_304), Some(-1), Some(false)));
        assert_eq!(resources.block_io.clone().unwrap().throttle_read_iops_device[0].rate, 600);
        assert_eq!(resources.network.clone().unwrap().class_id, Some(1_048_577));
        let again: Resources = serde_json::from_str(&serde_json::to_string(&resources).unwrap()).unwrap();
        assert_eq!(again, resources);
        assert_eq!(serde_json::to_string(&Resources::default()).unwrap(), "{}");
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let current: Resources = serde_json::from_str(
            r#"{"memory": {"limit": 8, "swap": 16}, "cpu": {"quota": 5, "period": 10}, "unified": {"memory.high": "1"},
                "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}, {"major": 9, "minor": 0, "rate": 1}]}}"#,
        )
        .unwrap();
        let change: Resources = serde_json::from_str(
            r#"{"memory": {"limit": 9}, "pids": {"limit": 3}, "unified": {"memory.low": "2"},
                "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 2}]}}"#,
        )
        .unwrap();
        let after = change.over(&current);
        let memory = after.memory.unwrap();
        assert_eq!((memory.limit, memory.swap, after.pids.unwrap().limit), (Some(9), Some(16), Some(3)));
        assert_eq!(after.cpu, current.cpu);
        assert_eq!(after.unified.len(), 2);
        let rates: Vec<u64> = after.block_io.unwrap().throttle_read_bps_device.iter().map(|device| device.rate).collect();
        assert_eq!(rates, [1, 2]);
    }

    #[test]
    fn memory_without_a_limit_takes_the_limit_with_swap_along() {
        let memory = |limit, swap| Memory { limit: Some(limit), swap, ..Memory::default() };
        let swap_after = |change: Memory, current: Memory| change.over(&current).swap;
        assert_eq!(swap_after(memory(-1, None), memory(8, Some(16))), Some(-1));
        assert_eq!(swap_after(memory(-1, Some(0)), memory(8, Some(16))), Some(-1));
        assert_eq!(swap_after(memory(-1, None), memory(8, None)), None);
        assert_eq!(swap_after(memory(4, None), memory(8, Some(16))), Some(16));
    }
}
