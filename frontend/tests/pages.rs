//! Every page and live part with sample data: nothing hostile gets through, nothing breaks the content security policy, every control has
//! a name. `cargo test -p belljar-frontend` also writes the pages to `target/preview/`, to be looked at.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so and ends; outside of cfg(test) clippy has no exception for it")]

mod sample;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use belljar_frontend::container::{
    CgroupPage, Changes, Delete, DifferencePage, Events as ContainerEvents, Filter, Gone, LimitsPage, Logs, MountsPage, Namespaces,
    Overlay, Overview, Past, Plan, Range,
};
use belljar_frontend::containers::{Findings, Known, Latest, List, Uppers};
use belljar_frontend::create::{Form, Values};
use belljar_frontend::events::Events;
use belljar_frontend::host::HostPage;
use belljar_frontend::images::{self, Damaged, ImagePage, Images, PrunePage, Typed, Verification};
use belljar_frontend::limits::{Supports, Texts};
use belljar_frontend::login::{Login, Setup};
use belljar_frontend::problem::Problem;
use belljar_frontend::settings::{FreshToken, Registry, Settings};
use belljar_frontend::volumes::{self, PruneVolumes, VolumePage, VolumesPage};
use belljar_frontend::{Template, container, containers, events};
use belljar_model::health::HealthStatus;
use belljar_model::history::History;
use belljar_model::usage::Usage;
use belljar_model::{Container, Invalid, Limits};
use sample::{HOSTILE, NOW_MS, frame, nobody};

type Pages = Vec<(&'static str, String)>;

fn rendered(page: impl Template) -> String {
    page.render().expect("a page renders")
}

fn list(notice: Option<&str>, containers: &[Container]) -> String {
    let (usages, findings, healths) = (sample::usages(containers), sample::found(containers), sample::healths(containers));
    rendered(List {
        frame: frame(notice),
        containers,
        known: Known { usages: &usages, findings: &findings, healths: &healths, uppers: &Uppers::new() },
    })
}

fn container_pages() -> Pages {
    let (database, greedy, usage, hostile) = (sample::database(), sample::out_of_memory(), sample::usage(1), sample::hostile());
    let (namespaces, cgroup, stack, changes, lines) =
        (sample::namespaces(), sample::cgroup(), sample::stack(), sample::changes(), sample::lines());
    let (processes, entries, events, plan, failed) =
        (sample::processes(), sample::entries(), sample::events(), sample::plan(), sample::failed_plan());
    let filter = Filter { tail: 500, stream: None };
    let (nothing, day) = (History { step_ms: 10_000, points: Vec::new() }, sample::history(10_000, 3_600_000));
    let marks = sample::past_events(3_600_000);
    let overview = |container: &Container, usage: Option<&Usage>, processes| {
        let (history, events) = if usage.is_some() { (&day, &marks[..]) } else { (&nothing, &[][..]) };
        let past = Past { range: Range::Hour, history, events };
        let findings = if usage.is_some() { sample::findings() } else { Vec::new() };
        let (health, denied) = (sample::health(), sample::denied());
        rendered(Overview { frame: frame(None), container, usage, processes, denied: &denied, findings: &findings, health: &health, past })
    };
    let loosened = sample::loosened();
    let typo = sample::containers().remove(4);
    let gone = Past { range: Range::Month, history: &day, events: &marks };
    vec![
        ("overview", overview(&database, Some(&usage), &processes)),
        ("overview-oom", overview(&greedy, None, &[])),
        ("overview-failed", overview(&typo, None, &[])),
        ("overview-hostile", overview(&hostile, None, &[])),
        ("overview-loosened", overview(&loosened, Some(&usage), &processes)),
        ("namespaces", rendered(Namespaces { frame: frame(None), container: &database, namespaces: &namespaces })),
        ("namespaces-none", rendered(Namespaces { frame: frame(None), container: &greedy, namespaces: &[] })),
        ("mounts", mounts_of(&database, Some("/proc/4243/mountinfo"))),
        ("mounts-none", mounts_of(&greedy, None)),
        ("cgroup", rendered(CgroupPage { frame: frame(None), container: &database, cgroup: Some(&cgroup) })),
        ("cgroup-none", rendered(CgroupPage { frame: frame(None), container: &greedy, cgroup: None })),
        (
            "overlay",
            rendered(Overlay {
                frame: frame(None),
                container: &database,
                stack: &stack,
                path: "/etc",
                entries: &entries,
                changes: Changes::Known(&changes),
            }),
        ),
        (
            "overlay-none",
            rendered(Overlay {
                frame: frame(None),
                container: &database,
                stack: &stack,
                path: "/",
                entries: &[],
                changes: Changes::Unknown("It changed more than 100000 files: too many to list."),
            }),
        ),
        (
            "difference",
            rendered(DifferencePage { frame: frame(None), container: &database, stack: &stack, difference: &sample::difference() }),
        ),
        ("logs", rendered(Logs { frame: frame(None), container: &database, filter, lines: &lines })),
        (
            "container-events",
            rendered(ContainerEvents { frame: frame(None), container: &database, events: &events, before: None, older: Some(900) }),
        ),
        ("plan", rendered(Plan { frame: frame(None), container: &database, plan: &plan })),
        ("plan-failed", rendered(Plan { frame: frame(None), container: &hostile, plan: &failed })),
        ("plan-none", rendered(Plan { frame: frame(None), container: &database, plan: &Default::default() })),
        ("delete", rendered(Delete { frame: frame(None), container: &database })),
        ("gone", rendered(Gone { frame: frame(None), id: &database.id, past: gone })),
    ]
}

fn mounts_of(container: &Container, source: Option<&str>) -> String {
    rendered(MountsPage { frame: frame(None), container, mounts: &sample::mounts(source) })
}

fn limits_pages() -> Pages {
    let (database, greedy, usage) = (sample::database(), sample::out_of_memory(), sample::usage(1));
    let (supports, findings) = (sample::supports(), sample::findings());
    let enforced = Limits { cpus: Some(0.49), ..database.config.limits.clone() };
    let limits_of = |container, usage: Option<&Usage>, (texts, invalid)| {
        let (supports, host) = (Supports(&supports), sample::capacity());
        let enforced = usage.map(|_| &enforced);
        rendered(LimitsPage { frame: frame(None), container, texts, usage, enforced, supports, host, findings: &findings, invalid })
    };
    let limits = |texts, invalid| limits_of(&database, Some(&usage), (texts, invalid));
    let refused = Texts { memory: "8m".into(), io: HOSTILE.into(), cpuset: HOSTILE.into(), ..Texts::of(&database.config.limits) };
    let busy = Invalid::new("limits.memory_bytes", "it uses 18.9 MiB, and the kernel cannot take enough of it back (EBUSY)");
    vec![
        ("limits", limits(&Texts { restart: "unless-stopped".into(), ..Texts::of(&database.config.limits) }, None)),
        ("limits-refused", limits(&refused, Some(&busy))),
        ("limits-stopped", limits_of(&greedy, None, (&Texts::of(&greedy.config.limits), None))),
    ]
}

fn other_pages() -> Pages {
    let kept = sample::volumes();
    let volumes =
        |name, invalid| rendered(VolumesPage { frame: frame(None), volumes: &kept, space: sample::host().space.as_ref(), name, invalid });
    let (images, tokens, host, events) = (sample::images(), sample::tokens(), sample::host(), sample::events());
    let refused = Invalid::new("name", HOSTILE);
    let invalid = Invalid::new("limits.memory_bytes", format!("must be between 1 and 2, not {HOSTILE}"));
    let wrong = Values {
        name: HOSTILE.into(),
        health_cmd: HOSTILE.into(),
        health_retries: HOSTILE.into(),
        memory: HOSTILE.into(),
        command: HOSTILE.into(),
        env: HOSTILE.into(),
        ..Values::fresh()
    };
    let loose =
        Values { net: HOSTILE.into(), seccomp: HOSTILE.into(), sysctls: HOSTILE.into(), cap_add: HOSTILE.into(), ..Values::fresh() };
    let supports = sample::supports();
    let form = |values, invalid| {
        let (supports, chosen) = (Supports(&supports), Some(&images[2]));
        rendered(Form { frame: frame(None), values, images: &images, chosen, host: sample::capacity(), supports, invalid })
    };

    let fresh = FreshToken { name: "phone", secret: "bj_9qXc2V7mH0aKpZ3sT8wLrNfYdE4uB6gJ" };
    let failure = sample::failure();
    let registries = [Registry { host: HOSTILE.into(), who: HOSTILE.into(), saved_at_ms: NOW_MS }];
    vec![
        ("create", form(&Values::fresh(), None)),
        ("create-wrong", form(&wrong, Some(&invalid))),
        ("create-hostile", form(&loose, None)),
        ("volumes", volumes("", None)),
        ("volumes-wrong", volumes(HOSTILE, Some(&refused))),
        ("volumes-none", rendered(VolumesPage { frame: frame(None), volumes: &[], space: None, name: "", invalid: None })),
        ("volume", rendered(VolumePage { frame: frame(None), volume: &kept[0], path: "base/1", files: &sample::volume_files() })),
        ("volume-empty", rendered(VolumePage { frame: frame(None), volume: &kept[1], path: "", files: &[] })),
        ("prune-volumes", rendered(PruneVolumes { frame: frame(None), volumes: &kept, all: "yes" })),
        ("prune-volumes-nothing", rendered(PruneVolumes { frame: frame(None), volumes: &[], all: "" })),
        ("events", rendered(Events { frame: frame(None), events: &events, before: None, older: None })),
        ("events-none", rendered(Events { frame: frame(None), events: &[], before: None, older: None })),
        ("host", rendered(HostPage { frame: frame(None), host: &host, pressure: Some(&sample::pressure()), alive: 4, version: "0.1.0" })),
        (
            "settings",
            rendered(Settings { frame: frame(None), tokens: &tokens, registries: &registries, fresh: Some(fresh), invalid: None }),
        ),
        ("login", rendered(Login { frame: nobody(), next: "/containers", problem: None })),
        ("login-wrong", rendered(Login { frame: nobody(), next: HOSTILE, problem: Some("That is not the password.") })),
        ("setup", rendered(Setup { frame: nobody(), token: HOSTILE, problem: None })),
        (
            "problem",
            rendered(Problem { frame: frame(None), status: 404, title: "Not found", detail: HOSTILE, failure: None, container: None }),
        ),
        (
            "problem-start",
            rendered(Problem {
                frame: frame(None),
                status: 422,
                title: "Could not start typo",
                detail: "",
                failure: Some(&failure),
                container: Some("typo"),
            }),
        ),
    ]
}

fn image_pages() -> Pages {
    let (images, pulls) = (sample::summaries(), sample::pulls());
    let refused = Invalid::new("file", format!("is not an archive: {HOSTILE}"));
    let list = |pulls, typed, invalid| rendered(Images { frame: frame(None), images: &images, pulls, typed, invalid });
    let damages = [Damaged { what: HOSTILE.into(), problem: HOSTILE.into() }];
    let (well, ill) = (Verification { layers: 3, damages: &[] }, Verification { layers: 3, damages: &damages });
    let one = |summary, verified, (name, invalid)| rendered(ImagePage { frame: frame(None), summary, verified, name, invalid });
    let wrong = Invalid::new("name", HOSTILE);
    let (pruned, nothing) = (sample::pruned(), belljar_model::image::Pruned::default());
    vec![
        ("images", list(&pulls, Typed::default(), None)),
        ("images-wrong", list(&[], Typed { reference: HOSTILE, name: HOSTILE }, Some(&refused))),
        ("image", one(&images[2], Some(well), ("", None))),
        ("image-hostile", one(&images[3], Some(ill), (HOSTILE, Some(&wrong)))),
        ("image-host", one(&images[0], None, ("", None))),
        ("prune", rendered(PrunePage { frame: frame(None), pruned: &pruned, all: "yes" })),
        ("prune-nothing", rendered(PrunePage { frame: frame(None), pruned: &nothing, all: "" })),
    ]
}

fn pages() -> Pages {
    let mut pages = vec![
        ("list-0", list(None, &[])),
        ("list-1", list(Some("web is running."), &sample::containers()[..1])),
        ("list", list(Some("Stopped dns."), &sample::containers())),
        ("list-200", list(None, &sample::many(200))),
    ];
    pages.extend(container_pages());
    pages.extend(limits_pages());
    pages.extend(image_pages());
    pages.extend(other_pages());
    pages
}

fn parts() -> Pages {
    let (hostile, usage, lines, events) = (sample::hostile(), sample::usage(2), sample::lines(), sample::events());
    let latest = Latest { usage: Some(&usage), finding: None, health: HealthStatus::Unhealthy, upper_bytes: Some(1 << 20) };
    let (all, none) = (sample::containers(), Findings::new());
    let usages = sample::usages(&all);
    let part = |result: Result<String, belljar_frontend::Error>| result.expect("a part renders");
    vec![
        ("row", part(containers::row(&hostile, latest, NOW_MS))),
        ("figures", part(containers::figures(&hostile, latest, NOW_MS))),
        ("summary", part(containers::summary(&sample::containers(), &sample::healths(&all)))),
        (
            "rows",
            part(containers::list(
                &all,
                Known { usages: &usages, findings: &none, healths: &sample::healths(&all), uppers: &Uppers::new() },
                NOW_MS,
            )),
        ),
        ("header", part(container::header(&hostile, NOW_MS))),
        ("limits now", part(container::limits_now(&sample::database(), Some(&usage)))),
        ("findings", part(container::findings(&sample::database(), &sample::findings()))),
        ("usage", part(container::usage(&sample::database(), Some(&usage)))),
        ("health", part(container::health(&hostile, &sample::health(), NOW_MS))),
        ("images", part(images::rows(&sample::summaries(), NOW_MS))),
        ("pulls", part(images::pulls(&sample::pulls()))),
        ("volumes", part(volumes::rows(&sample::volumes()))),
        ("mounts", part(container::mounts(&sample::mounts(Some("/proc/4243/mountinfo"))))),
        ("log", part(container::log(&lines))),
        ("log line", part(container::log_line(&lines[4]))),
        ("events", part(events::table(&events, NOW_MS))),
        ("event", part(events::row(&events[12], NOW_MS))),
    ]
}

/// The repository's folder `name`, made where missing.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::create_dir_all(&path).expect("the folder can be made");
    path
}

#[test]
fn pages_are_written_to_be_looked_at() {
    let preview = folder("target/preview");
    for (name, html) in pages() {
        std::fs::write(preview.join(format!("{name}.html")), html).expect("the preview can be written");
    }
    for range in Range::ALL {
        let (history, events) = (sample::history(range.step_ms(), range.length_ms()), sample::past_events(range.length_ms()));
        let drawing = Past { range, history: &history, events: &events }.drawing(NOW_MS);
        let json = serde_json::to_vec(&drawing).expect("a drawing can be written");
        std::fs::write(preview.join(format!("history-{}.json", range.as_str())), json).expect("the preview can be written");
    }
}

#[test]
fn hostile_text_stays_text() {
    for (name, html) in pages().into_iter().chain(parts()) {
        assert!(!html.contains("<script>"), "{name} lets a script through");
        assert!(!html.contains("<img src=x"), "{name} lets an element through");
        assert!(!html.contains("alert('x')"), "{name} lets quotes through");
    }
    let hostile = parts().remove(0).1;
    assert!(hostile.contains("&#60;script&#62;"), "the text itself is shown");
}

#[test]
fn no_page_needs_more_than_its_own_origin() {
    for (name, html) in pages() {
        for forbidden in
            [" style=", "<style", "javascript:", " onclick=", " onload=", " onsubmit=", "src=\"http", "href=\"http", "href=\"//"]
        {
            assert!(!html.contains(forbidden), "{name} has {forbidden}");
        }
        assert_eq!(html.matches("<script").count(), html.matches("<script src=\"/static/").count(), "{name} has an inline script");
    }
}

#[test]
fn an_id_stands_once_on_a_page() {
    for (name, html) in pages() {
        let mut seen = std::collections::HashSet::new();
        for id in html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(seen.insert(id.to_owned()), "{name} has the id {id} twice");
        }
    }
}

#[test]
fn a_part_is_the_same_on_the_page_and_over_the_stream() {
    let all = sample::containers();
    let (usages, findings, healths) = (sample::usages(&all), sample::found(&all), sample::healths(&all));
    let known = Known { usages: &usages, findings: &findings, healths: &healths, uppers: &Uppers::new() };
    let page = list(None, &all);
    for one in &all {
        let row = containers::row(one, known.of(&one.id), NOW_MS).expect("a row renders");
        assert!(page.contains(row.trim()), "the row of {} differs", one.config.name);
        assert!(row.contains(&format!("id=\"{}\"", containers::row_id(&one.id))));
        let figures = containers::figures(one, known.of(&one.id), NOW_MS).expect("figures render");
        assert!(row.contains(figures.trim()), "the figures of {} differ", one.config.name);
    }
}

#[test]
fn an_end_is_told_in_words_in_the_list_and_on_the_page() {
    let told = ["Out of memory", "limit 4 MiB, peak 4 MiB, process tail (pid 5117)"];
    let greedy = sample::out_of_memory();
    for html in [list(None, std::slice::from_ref(&greedy)), container::header(&greedy, NOW_MS).expect("a head renders")] {
        for words in told {
            assert!(html.contains(words), "{words} is missing");
        }
    }
    let typo = list(None, &sample::containers());
    assert!(typo.contains("Never started") && typo.contains("exec nginxx: ENOENT: no such file or directory"));
}

#[test]
fn what_a_layer_takes_stands_beside_what_it_may_also_at_rest() {
    let mut resting = sample::out_of_memory();
    (resting.config.limits.disk_bytes, resting.config.limits.disk_inodes) = (Some(100 << 20), Some(2000));
    let uppers = Uppers::from([(resting.id.clone(), 12 << 20)]);
    let containers = [resting];
    let (usages, findings, healths) = (sample::usages(&containers), sample::found(&containers), sample::healths(&containers));
    let known = Known { usages: &usages, findings: &findings, healths: &healths, uppers: &uppers };
    let [container] = &containers;
    let listed = rendered(List { frame: frame(None), containers: &containers, known });
    assert!(listed.contains(r#"12 MiB <span class="of">of 100 MiB</span>"#), "{listed}");
    let usage = Usage { disk_bytes: Some(12 << 20), disk_inodes: Some(341), ..Usage::default() };
    let texts = Texts::of(&container.config.limits);
    let (supports, host) = (sample::supports(), sample::capacity());
    let (supports, none) = (Supports(&supports), None);
    let page = LimitsPage {
        frame: frame(None),
        container,
        texts: &texts,
        usage: Some(&usage),
        enforced: none,
        supports,
        host,
        findings: &[],
        invalid: None,
    };
    let page = rendered(page);
    for words in [r#"name="disk" value="100m""#, r#"id="now-disk""#, "12 MiB", "341", r#"name="disk_inodes" value="2000""#] {
        assert!(page.contains(words), "{words} is missing: {page}");
    }
    assert!(!page.contains(r#"id="now-memory""#), "of the rest nothing is measured");
    let pages = container_pages();
    let overlay = &pages.iter().find(|(name, _)| *name == "overlay").expect("the page").1;
    for words in ["of 100 MiB on disk", "12 MiB of 100 MiB, 341 files and folders", "project 1879048199"] {
        assert!(overlay.contains(words), "{words} is missing");
    }
}

#[test]
fn what_a_container_goes_without_is_told_in_the_list_and_on_every_page_of_it() {
    let loosened = sample::loosened();
    let head = container::header(&loosened, NOW_MS).expect("a head renders");
    for words in ["shares the host&#39;s network", "shares the processes of container web", "runs without user ids of its own", "(ramfs)"] {
        assert!(head.contains(words), "{words} is missing: {head}");
    }
    assert!(list(None, std::slice::from_ref(&loosened)).contains("less protected"));
    assert!(!list(None, &[sample::database()]).contains("less protected"));
    let pages = container_pages();
    let page = &pages.iter().find(|(name, _)| *name == "overview-loosened").expect("the page").1;
    for words in ["this program asked for mount 3 times", "Limit nofile", "1024, at most 2048", "hidden from its users", "Landlock /usr"] {
        assert!(page.contains(words), "{words} is missing");
    }
}

#[test]
fn a_wrong_namespace_is_told_at_its_field_and_the_part_is_open() {
    let values = Values { net: "container:gone".into(), ..Values::fresh() };
    for (field, id) in [("namespaces.net", "net"), ("security.capabilities.add[0]", "cap_add"), ("sysctls.kernel.panic", "sysctls")] {
        let invalid = Invalid::new(field, "is wrong");
        let html = rendered(Form {
            frame: frame(None),
            values: &values,
            images: &sample::images(),
            chosen: None,
            host: sample::capacity(),
            supports: Supports(&[]),
            invalid: Some(&invalid),
        });
        assert!(html.contains(&format!("id=\"{id}-wrong\"")), "{field}");
    }
}

#[test]
fn buttons_are_those_that_the_state_allows() {
    let header = |container: &Container| container::header(container, NOW_MS).expect("a head renders");
    let running = header(&sample::database());
    for (action, shown) in [("start", false), ("stop", true), ("kill", true), ("pause", true), ("resume", false), ("restart", true)] {
        assert_eq!(running.contains(&format!("/{action}\"")), shown, "{action} of a running container");
    }
    let stopped = header(&sample::out_of_memory());
    for (action, shown) in [("start", true), ("stop", false), ("kill", false), ("pause", false)] {
        assert_eq!(stopped.contains(&format!("/{action}\"")), shown, "{action} of a stopped container");
    }
}

#[test]
fn a_wrong_field_keeps_what_was_typed_and_says_what_is_wrong_beside_it() {
    let html = other_pages().remove(1).1;
    assert!(html.contains("id=\"memory-wrong\"") && html.contains("aria-describedby=\"memory-wrong\""));
    assert!(html.contains("must be between 1 and 2"));
    assert!(!html.contains("id=\"name-wrong\""));
}

#[test]
fn a_mount_is_told_by_kernel_and_person_and_its_name_stays_in_its_line() {
    let html = container::mounts(&sample::mounts(Some("/proc/4243/mountinfo"))).expect("a part renders");
    for words in ["/proc/4243/mountinfo", "the volume pgdata", "by nobody", "shared:9 master:2", "not there", "\u{240a}", "longer than"] {
        assert!(html.contains(words), "{words} is missing");
    }
    let rests = container::mounts(&sample::mounts(None)).expect("a part renders");
    assert!(rests.contains("will be mounted") && !rests.contains("not there"));
}

/// Prints what the issue sets targets for; time is never asserted on, bytes are.
#[test]
fn the_list_of_200_containers_is_light() {
    let containers = sample::many(200);
    let usages = sample::usages(&containers);
    let findings = sample::found(&containers);
    let known = Known { usages: &usages, findings: &findings, healths: &sample::healths(&containers), uppers: &Uppers::new() };
    let page = || rendered(List { frame: frame(None), containers: &containers, known });
    let html = page();
    let begin = Instant::now();
    let rounds = 50;
    for _ in 0..rounds {
        std::hint::black_box(page());
    }
    let each = begin.elapsed() / rounds;
    let gzipped = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("memory can be written");
        encoder.finish().expect("memory can be written").len()
    };
    let file = |name: &str| gzipped(&std::fs::read(folder("static").join(name)).expect("a static file"));
    let sizes = [
        ("html", gzipped(html.as_bytes())),
        ("belljar.css", file("belljar.css")),
        ("live.js", file("live.js")),
        ("logo.svg", file("logo.svg")),
    ];
    let total: usize = sizes.iter().map(|(_, bytes)| bytes).sum();
    println!("200 containers: {each:?} to render, {} bytes as they are, {total} over the wire {sizes:?}", html.len());
    assert!(total <= 60_000, "{total} bytes over the wire");
}
