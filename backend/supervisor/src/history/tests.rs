//! The way of a reading to the answer, through a real database. It must never know columns. Start reading at the first test.

use belljar_model::usage::Usage;
use belljar_model::{Container, ContainerId};

use super::*;
use crate::ErrorKind;
use crate::testing::{Bench, DEAF, config};

const HOUR_MS: i64 = 3_600_000;

/// The beginning of the slot that was over a while ago.
fn lately(ago_ms: i64) -> i64 {
    let at_ms = now_ms() - ago_ms;
    at_ms - at_ms % SLOT_MS
}

fn usage(at_ms: i64, memory_bytes: u64) -> Usage {
    Usage { at_ms, cpu_usec_total: Some(at_ms.cast_unsigned() * 500), memory_bytes: Some(memory_bytes), ..Usage::default() }
}

/// As the sampler would, of one container. The history is not the supervisor's own, to which its sampler notes what it finds.
fn note(history: &History, id: &ContainerId, usage: &Usage) {
    let readings = [crate::sample::Reading { id: id.clone(), usage: usage.clone() }];
    history.note(&Round { at_ms: usage.at_ms, readings: &readings }, &[(id.clone(), 0.5)].into());
}

async fn created(bench: &Bench) -> Container {
    bench.supervisor.create(config("web", DEAF), crate::StartNow::No).await.expect("created")
}

#[tokio::test]
async fn what_was_read_is_told_with_its_limit_and_also_of_a_container_that_is_gone() {
    let bench = Bench::new().await;
    let web = created(&bench).await;
    let (history, begin) = (History::default(), lately(40_000));
    for second in 0..20 {
        note(&history, &web.id, &usage(begin + second * 1000, 5 << 20));
    }
    history.write(&bench.shared().store).await;
    let told = bench.supervisor.history(&web.id, begin, now_ms(), 0).await.expect("read");
    assert_eq!((told.step_ms, told.points.len()), (SLOT_MS, 1), "the second slot is not over");
    let point = told.points[0];
    assert_eq!((point.at_ms, point.cpu_percent, point.cpus_max, point.memory_bytes), (begin, Some(50.0), Some(0.5), Some(5 << 20)));

    bench.supervisor.ask(&web.id, belljar_model::machine::Request::Delete(belljar_model::machine::Force::Yes)).await.expect("deleted");
    history.note(&Round { at_ms: begin + 20_000, readings: &[] }, &HashMap::new());
    history.write(&bench.shared().store).await;
    assert_eq!(bench.supervisor.remembered(web.id.short()).await.expect("remembered"), web.id);
    assert_eq!(bench.supervisor.remembered("web").await.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert_eq!(bench.supervisor.remembered(&"0".repeat(64)).await.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert_eq!(bench.supervisor.history(&web.id, begin, now_ms(), 0).await.expect("read").points.len(), 2);
}

#[tokio::test]
async fn a_server_that_comes_back_goes_on_in_the_same_slot_and_leaves_a_gap_where_it_was_away() {
    let bench = Bench::new().await;
    let web = created(&bench).await;
    let begin = lately(60_000);
    let closed = async |history: History| {
        history.close();
        history.write(&bench.shared().store).await;
    };
    let before = History::default();
    note(&before, &web.id, &usage(begin, 4 << 20));
    note(&before, &web.id, &usage(begin + 4000, 4 << 20));
    closed(before).await;
    let after = History::default();
    note(&after, &web.id, &usage(begin + 5000, 8 << 20));
    note(&after, &web.id, &usage(begin + 9000, 8 << 20));
    note(&after, &web.id, &usage(begin + 41_000, 2 << 20));
    closed(after).await;
    let points = bench.supervisor.history(&web.id, begin, now_ms(), 0).await.expect("read").points;
    let told: Vec<_> = points.iter().map(|point| (point.at_ms - begin, point.memory_bytes, point.cpu_percent)).collect();
    assert_eq!(told, [(0, Some(6 << 20), Some(50.0)), (40_000, Some(2 << 20), None)]);
}

#[tokio::test]
async fn the_tier_that_answers_is_the_finest_that_remembers_so_long() {
    let bench = Bench::new().await;
    let web = created(&bench).await;
    let now = now_ms();
    let step = async |from_ms: i64, step_ms: i64| bench.supervisor.history(&web.id, from_ms, now, step_ms).await.expect("read").step_ms;
    assert_eq!(step(now - HOUR_MS, 0).await, 10_000, "an hour, though a moment has passed");
    assert_eq!(step(now - HOUR_MS, 60_000).await, 60_000);
    assert_eq!(step(now - 24 * HOUR_MS, 0).await, 60_000);
    assert_eq!(step(now - 7 * 24 * HOUR_MS, 0).await, 600_000);
    assert_eq!(step(i64::MIN, 0).await, 3_600_000);
    assert_eq!(step(i64::MAX, i64::MAX).await, 3_600_000);
}

#[tokio::test]
async fn what_could_not_be_written_is_tried_again_and_never_without_bound() {
    let bench = Bench::new().await;
    let web = created(&bench).await;
    let (history, store) =
        (History::default(), Store::open(&bench.shared().home.folders.data_dir.join("other.db")).await.expect("a store"));
    store.close().await;
    let begin = lately(50_000);
    for second in [0, 11] {
        note(&history, &web.id, &usage(begin + second * 1000, 1 << 20));
        history.write(&store).await;
    }
    history.write(&bench.shared().store).await;
    assert_eq!(bench.supervisor.history(&web.id, begin, now_ms(), 0).await.expect("read").points.len(), 1);

    let slot = (web.id.clone(), Slot { at_ms: begin, ..Slot::default() });
    history.put_back(vec![slot; SLOTS_WAITING_MAX + 5]);
    assert_eq!(history.take_waiting().0.len(), SLOTS_WAITING_MAX);
}

#[tokio::test]
async fn a_week_suggests_a_limit() {
    let bench = Bench::new().await;
    let web = created(&bench).await;
    assert_eq!(bench.supervisor.suggestion(&web.id).await.expect("read"), None);
    let begin = lately(3 * HOUR_MS);
    let slot =
        |slot: i64| Slot { at_ms: begin + slot * SLOT_MS, measured_ms: 10_000, memory_bytes_peak: Some(270 << 20), ..Slot::default() };
    let slots: Vec<_> = (0..1000).map(|number| (web.id.clone(), slot(number))).collect();
    bench.shared().store.write_history(&slots, now_ms()).await.expect("written");
    let suggestion = bench.supervisor.suggestion(&web.id).await.expect("read").expect("one");
    assert_eq!(suggestion.text, "a memory limit of 300 MiB would have been enough for the last 3 hours");
}
