//! Belljar's own limits as writes: they become [`Resources`] first, so that there is one path, and a refusal is told by the
//! field that the person named.

use belljar_model::{Invalid, Limits};

use super::writes::{Write, writes as of_resources};
use super::{Cgroup, Hierarchies, Resources};

/// Fields of the specification, and what the person calls them.
const FIELDS: [(&str, &str); 5] = [
    ("resources.memory.limit", "limits.memory_bytes"),
    ("resources.memory.swap", "limits.memory_swap_bytes"),
    ("resources.cpu.quota", "limits.cpus"),
    ("resources.cpu.period", "limits.cpus"),
    ("resources.pids.limit", "limits.pids"),
];

/// The writes that limit the cgroup `name`, in the order in which the kernel takes them. A limit whose controller this host
/// does not have is refused by name, never dropped.
pub fn writes(limits: &Limits, hierarchies: &Hierarchies, name: &str) -> Result<Vec<Write>, Invalid> {
    of_resources(&Resources::from(limits), &Cgroup::at(hierarchies, name)).map_err(named)
}

/// A refusal in the person's words.
pub fn named(invalid: Invalid) -> Invalid {
    let known = FIELDS.iter().find(|(field, _)| *field == invalid.field);
    known.map_or(invalid.clone(), |(_, name)| Invalid::new(*name, invalid.problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_without_its_controller_is_refused_by_name() {
        let limits = Limits { pids: Some(9), ..Limits::default() };
        let refused = writes(&limits, &Hierarchies::default(), "b/1").unwrap_err();
        assert_eq!(refused.to_string(), "limits.pids: cannot be enforced: this host has no pids controller");
    }
}
