//! `host`: what containers run on.

use belljar_api::Host;
use belljar_api::host::{LimitSupport, Space, Support};
use belljar_model::size;

use crate::output::Table;

/// One fact a line.
pub(crate) fn host(host: &Host, _now_ms: i64) -> Table {
    let controllers: Vec<String> = host.controllers.iter().map(|one| format!("{} {}", one.name, one.version.as_str())).collect();
    let word = |support: &Support| match &support.because {
        _ if support.supported => "yes".to_owned(),
        Some(because) => format!("no: {because}"),
        None => "no".to_owned(),
    };
    let facts = [
        ("belljar", host.version.clone()),
        ("instance", host.instance.clone()),
        ("hostname", host.hostname.clone()),
        ("kernel", host.kernel.clone()),
        ("processors", host.cpus.to_string()),
        ("memory", size::display(host.memory_bytes)),
        ("processes", format!("at most {}", host.pids)),
        ("cgroups", host.cgroup_mode.clone()),
        ("controllers", controllers.join(", ")),
        ("user namespaces", word(&host.user_namespaces)),
        ("idmapped mounts", word(&host.idmapped_mounts)),
        ("containers' own layers", word(&host.own_layers)),
        ("data folder", host.data_dir.clone()),
        ("free space", host.space.map_or("unknown".to_owned(), space)),
        ("run folder", host.run_dir.clone()),
    ];
    let mut table = Table::new(&["WHAT", "IS"]);
    for (what, is) in facts {
        table.row(vec![what.into(), is.into()]);
    }
    for limit in &host.limits {
        table.row(vec![limit.name.as_str().into(), enforced(limit).into()]);
    }
    table
}

/// How full the disk is.
fn space(space: Space) -> String {
    let (free, total) = (size::display(space.free_bytes), size::display(space.total_bytes));
    let inodes = if space.inodes_total == 0 { String::new() } else { format!(", {} % of its inodes", space.inodes_used_percent()) };
    format!("{free} of {total}; {} % is used{inodes}", space.used_percent())
}

/// By what, or why not.
fn enforced(limit: &LimitSupport) -> String {
    let by = [limit.version.map(|version| version.as_str().to_owned()), limit.file.clone()];
    match (&limit.because, by.into_iter().flatten().collect::<Vec<_>>().join(" ")) {
        (Some(because), _) => format!("no: {because}"),
        (None, by) if by.is_empty() => "yes".to_owned(),
        (None, by) => by,
    }
}
