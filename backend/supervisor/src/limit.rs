//! Limits against the host: what it can enforce, and on which disks.

use belljar_model::limits::IoLimit;
use belljar_model::{Invalid, Limits};
use belljar_runtime::cgroup::disks::{self, Disk};
use belljar_runtime::cgroup::{limits, support};

use crate::shared::Shared;

/// Refuses what this host cannot enforce, by its field and with the reason. What was limited just so `before` is left alone.
pub(crate) fn check(shared: &Shared, asked: &Limits, before: &Limits) -> Result<(), Invalid> {
    if *asked == *before {
        return Ok(());
    }
    support::check(asked, before, &crate::host::limits(shared, &shared.hierarchies()))?;
    disks_of(asked).map(drop)
}

/// The disks of `limits.io`, in the same order, by their numbers now.
pub(crate) fn disks_of(asked: &Limits) -> Result<Vec<Disk>, Invalid> {
    let find = |(index, limit): (usize, &IoLimit)| {
        disks::find(&limit.device).map_err(|problem| Invalid::new(format!("limits.io[{index}].device"), problem))
    };
    let found: Vec<Disk> = asked.io.iter().enumerate().map(find).collect::<Result<_, _>>()?;
    limits::check_disks(asked, &found)?;
    Ok(found)
}
