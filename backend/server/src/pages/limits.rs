//! The form of a container's limits: text in, a change out, or the form again with the kernel's refusal at its field.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use belljar_api::query::Nothing;
use belljar_frontend::container::LimitsPage;
use belljar_frontend::create::restart_word;
use belljar_frontend::limits::{RATES, Supports, Texts};
use belljar_model::change::LimitsPatch;
use belljar_model::limits::{HostCapacity, IoLimit};
use belljar_model::{Change, Config, Container, Invalid, Limits, size};

use crate::app::{App, Found};
use crate::extract::{Form, Query};
use crate::fault::{Answer, Fault};
use crate::pages::container::findings;
use crate::pages::create::{given, number, restart};
use crate::pages::surroundings::{Deed, Surroundings, done};

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Found(container): Found,
    around: Surroundings,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Response> {
    let texts = Texts { restart: restart_word(container.config.restart).to_owned(), ..Texts::of(&container.config.limits) };
    page(&app, &around, (&container, StatusCode::OK), (&texts, None)).await
}

pub(super) async fn submit(
    State(app): State<Arc<App>>,
    Found(container): Found,
    around: Surroundings,
    Form(texts): Form<Texts>,
) -> Answer<Response> {
    let fault = match set(&app, &container, &texts).await {
        Ok(deed) => {
            let name = container.config.name.as_str();
            return Ok(done(deed, name, &format!("/containers/{name}/limits")));
        }
        Err(fault) => fault,
    };
    // What was typed is kept, whatever the reason.
    let refused = || (fault.status() == StatusCode::CONFLICT).then(|| Invalid::new("limits", fault.problem.detail.clone()));
    match fault.invalid().map(|invalid| at_field(container.config.name.as_str(), invalid)).or_else(refused) {
        Some(invalid) => page(&app, &around, (&container, fault.status()), (&texts, Some(&invalid))).await,
        None => Err(fault),
    }
}

/// What the kernel said, for a place where the field and the container are in sight: without both, and the file without its folder.
fn at_field(name: &str, mut invalid: Invalid) -> Invalid {
    let start = format!("the kernel refused {} of {name}: ", invalid.field);
    if let Some(answer) = invalid.problem.strip_prefix(&start) {
        let words = answer.split(' ').map(|word| match word.starts_with("/sys/fs/cgroup/") {
            true => word.rsplit_once('/').map_or(word, |(_, file)| file),
            false => word,
        });
        invalid.problem = format!("the kernel refused to {}", words.collect::<Vec<_>>().join(" "));
    }
    invalid
}

async fn set(app: &App, container: &Container, texts: &Texts) -> Answer<Deed> {
    let change = change(texts, &container.config)?;
    let changed = app.supervisor.change(&container.id, change).await.map_err(|error| Fault::of(container, error))?;
    Ok(match changed.state.is_alive() {
        _ if changed.config == container.config => Deed::AlreadySo,
        true => Deed::Changed,
        false => Deed::ChangedForStart,
    })
}

/// What the fields ask to be different of what holds. A part that the form does not have stays.
fn change(texts: &Texts, now: &Config) -> Result<Change, Invalid> {
    let mut limits = read(texts)?;
    // An empty box says no, however that was said before.
    limits.oom_group = limits.oom_group.or(now.limits.oom_group.filter(|set| !set));
    limits.cpu_idle = limits.cpu_idle.or(now.limits.cpu_idle.filter(|set| !set));
    let gone = now.limits.hugetlb.keys().filter(|pages| !limits.hugetlb.contains_key(*pages));
    let sizes = limits.hugetlb.iter().map(|(pages, bytes)| (pages.clone(), Some(*bytes)));
    let hugetlb = sizes.chain(gone.map(|pages| (pages.clone(), None))).collect();
    let patch = LimitsPatch { hugetlb: Some(Some(hugetlb)), ..LimitsPatch::to(&limits) };
    let restart = given(&texts.restart).map(|word| restart(&word)).transpose()?;
    Ok(Change { limits: Some(patch), restart, ..Change::default() })
}

async fn page(
    app: &App,
    around: &Surroundings,
    (container, status): (&Container, StatusCode),
    (texts, invalid): (&Texts, Option<&Invalid>),
) -> Answer<Response> {
    let usage = app.supervisor.usage(&container.id).await?;
    let enforced = app.supervisor.enforced(&container.id).await?;
    let findings = findings(app, container).await?;
    let host = app.supervisor.host();
    let capacity = HostCapacity { memory_bytes: host.memory_bytes, cpus: host.cpus, pids: host.pids };
    let view = LimitsPage {
        frame: around.frame(),
        container,
        texts,
        usage: Some(&usage),
        enforced: enforced.as_ref(),
        supports: Supports(&host.limits),
        host: capacity,
        findings: &findings,
        invalid,
    };
    around.page_with(status, &view)
}

/// The limits that the fields ask for. An empty field asks for none.
pub(super) fn read(texts: &Texts) -> Result<Limits, Invalid> {
    let bytes = |field: &str, text: &str| given(text).map(|text| size::parse(field, &text)).transpose();
    let whole = |field: &str, text: &str| number::<u32>(field, text, "a whole number such as 128");
    let ticked = |text: &str| given(text).map(|_| true);
    Ok(Limits {
        memory_bytes: bytes("limits.memory_bytes", &texts.memory)?,
        memory_swap_bytes: bytes("limits.memory_swap_bytes", &texts.swap)?,
        memory_high_bytes: bytes("limits.memory_high_bytes", &texts.memory_high)?,
        memory_reservation_bytes: bytes("limits.memory_reservation_bytes", &texts.memory_reservation)?,
        memory_swappiness: number("limits.memory_swappiness", &texts.memory_swappiness, "a whole number from 0 to 100")?,
        oom_group: ticked(&texts.oom_group),
        cpus: number("limits.cpus", &texts.cpus, "a number such as 0.5")?,
        cpu_weight: whole("limits.cpu_weight", &texts.cpu_weight)?,
        cpu_burst_usec: burst(&texts.cpu_burst)?,
        cpu_idle: ticked(&texts.cpu_idle),
        cpuset: given(&texts.cpuset),
        cpuset_mems: given(&texts.cpuset_mems),
        pids: whole("limits.pids", &texts.pids)?,
        io_weight: whole("limits.io_weight", &texts.io_weight)?,
        io: lines(&texts.io).enumerate().map(|(index, line)| device(&format!("limits.io[{index}]"), line)).collect::<Result<_, _>>()?,
        disk_bytes: bytes("limits.disk_bytes", &texts.disk)?,
        disk_inodes: number("limits.disk_inodes", &texts.disk_inodes, "a whole number such as 100000")?,
        hugetlb: lines(&texts.hugetlb).map(pages).collect::<Result<BTreeMap<_, _>, _>>()?,
    })
}

/// Milliseconds, as people say it; the model counts in microseconds.
fn burst(text: &str) -> Result<Option<u64>, Invalid> {
    let field = "limits.cpu_burst_usec";
    let ms: Option<f64> = number(field, text, "a number of milliseconds")?;
    match ms {
        Some(ms) if !(0.0..=1e9).contains(&ms) => Err(Invalid::new(field, "must be a number of milliseconds, 0 or more")),
        ms => Ok(ms.map(|ms| (ms * 1000.0).round() as u64)),
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// `/dev/sda read=10m write=5m reads=100 writes=100 weight=50`: a device that nothing is said of is refused.
fn device(field: &str, line: &str) -> Result<IoLimit, Invalid> {
    let mut words = line.split_whitespace();
    let mut limit = IoLimit { device: words.next().unwrap_or_default().to_owned(), ..IoLimit::default() };
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| {
            Invalid::new(field, format!("{word:?} is not one of read=, write=, reads=, writes= and weight= with a number"))
        })?;
        let model = RATES.into_iter().find(|(own, _)| *own == name).map_or(name, |(_, model)| model);
        let path = format!("{field}.{model}");
        match name {
            "read" => limit.read_bytes_per_second = Some(size::parse(&path, value)?),
            "write" => limit.write_bytes_per_second = Some(size::parse(&path, value)?),
            "reads" => limit.read_operations_per_second = Some(whole(&path, value)?),
            "writes" => limit.write_operations_per_second = Some(whole(&path, value)?),
            "weight" => limit.weight = Some(whole(&path, value)?),
            _ => return Err(Invalid::new(field, format!("knows read=, write=, reads=, writes= and weight=, not {name}="))),
        }
    }
    if limit == (IoLimit { device: limit.device.clone(), ..IoLimit::default() }) {
        return Err(Invalid::new(field, "says nothing of its device: write one of read=, write=, reads=, writes=, weight="));
    }
    Ok(limit)
}

fn whole<T: FromStr>(field: &str, text: &str) -> Result<T, Invalid> {
    text.parse().map_err(|_| Invalid::new(field, format!("{text:?} is not a whole number")))
}

/// `2MB=64m`.
fn pages(line: &str) -> Result<(String, u64), Invalid> {
    let field = "limits.hugetlb";
    let (pages, bytes) =
        line.split_once('=').ok_or_else(|| Invalid::new(field, format!("{line:?} is not a size of pages and a limit, such as 2MB=64m")))?;
    Ok((pages.trim().to_owned(), size::parse(field, bytes.trim())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use belljar_model::container::Restart;

    fn full() -> Limits {
        let io = IoLimit {
            device: "/dev/sda".into(),
            read_bytes_per_second: Some(10 << 20),
            write_bytes_per_second: Some(1500),
            read_operations_per_second: Some(100),
            write_operations_per_second: Some(7),
            weight: Some(50),
        };
        Limits {
            memory_bytes: Some(64 << 20),
            memory_swap_bytes: Some(0),
            memory_high_bytes: Some(48 << 20),
            memory_reservation_bytes: Some(32 << 20),
            memory_swappiness: Some(10),
            oom_group: Some(true),
            cpus: Some(0.5),
            cpu_weight: Some(300),
            cpu_burst_usec: Some(12_500),
            cpu_idle: Some(true),
            cpuset: Some("0-1".into()),
            cpuset_mems: Some("0".into()),
            pids: Some(128),
            io_weight: Some(200),
            io: vec![io.clone(), IoLimit { device: "/srv".into(), weight: Some(1), ..IoLimit::default() }],
            hugetlb: BTreeMap::from([("1GB".to_owned(), 0), ("2MB".to_owned(), 64 << 20)]),
            disk_bytes: Some(10 << 30),
            disk_inodes: Some(1000),
        }
    }

    #[test]
    fn what_a_form_shows_is_what_it_sends_back() {
        for limits in [full(), Limits::default()] {
            assert_eq!(read(&Texts::of(&limits)), Ok(limits));
        }
    }

    #[test]
    fn a_form_changes_just_what_was_typed_in_it() {
        let config = |limits: &Limits| -> Config {
            let json =
                serde_json::json!({"name": "web", "image": "host", "command": ["a"], "limits": limits, "restart": "always", "nice": 5});
            serde_json::from_value(json).expect("a config")
        };
        let off = Limits { oom_group: Some(false), cpu_idle: Some(false), ..full() };
        for limits in [full(), off, Limits::default()] {
            let (config, texts) = (config(&limits), Texts::of(&limits));
            assert_eq!(change(&texts, &config).expect("a change").apply(&config), config, "sent as it was shown");
            let other = Texts { memory: "1g".into(), hugetlb: String::new(), restart: "no".into(), ..texts };
            let changed = change(&other, &config).expect("a change").apply(&config);
            let expected = Limits { memory_bytes: Some(1 << 30), hugetlb: BTreeMap::new(), ..limits };
            assert_eq!((changed.limits, changed.restart, changed.nice), (expected, Restart::No, Some(5)));
        }
        let typo = Texts { restart: "never".into(), ..Texts::default() };
        assert_eq!(change(&typo, &config(&full())).map_err(|invalid| invalid.field), Err("restart".to_owned()));
    }

    #[test]
    fn a_refusal_at_its_field_is_short() {
        let field = "limits.memory_bytes";
        let told = |words: &str| at_field("web", Invalid::new(field, words)).problem;
        let path = "/sys/fs/cgroup/memory/belljar/0101/memory.limit_in_bytes";
        let long = format!("the kernel refused {field} of web: write 8 to {path}, where 9 bytes are used: EBUSY");
        assert_eq!(told(&long), "the kernel refused to write 8 to memory.limit_in_bytes, where 9 bytes are used: EBUSY");
        assert_eq!(told("must be more"), "must be more");
    }

    #[test]
    fn what_cannot_be_read_is_told_at_its_field() {
        type Breaks = fn(&mut Texts);
        let broken: [(&str, Breaks); 11] = [
            ("limits.memory_high_bytes", |texts| texts.memory_high = "much".into()),
            ("limits.memory_swappiness", |texts| texts.memory_swappiness = "-1".into()),
            ("limits.cpu_burst_usec", |texts| texts.cpu_burst = "-5".into()),
            ("limits.cpu_burst_usec", |texts| texts.cpu_burst = "NaN".into()),
            ("limits.io[1].read_bytes_per_second", |texts| texts.io = "/dev/sda read=1m\n/dev/sdb read=fast".into()),
            ("limits.io[0]", |texts| texts.io = "/dev/sda speed=1".into()),
            ("limits.io[0]", |texts| texts.io = "/dev/sda fast".into()),
            ("limits.io[0]", |texts| texts.io = "/dev/sda".into()),
            ("limits.hugetlb", |texts| texts.hugetlb = "2MB".into()),
            ("limits.disk_bytes", |texts| texts.disk = "plenty".into()),
            ("limits.disk_inodes", |texts| texts.disk_inodes = "1.5".into()),
        ];
        for (field, breaks) in broken {
            let mut texts = Texts::default();
            breaks(&mut texts);
            assert_eq!(read(&texts).map_err(|invalid| invalid.field), Err(field.to_owned()));
        }
    }
}
