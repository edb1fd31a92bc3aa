//! What is told of a container's health and when it is asked; the checks themselves are run on a real kernel
//! (`backend/cli/tests/whole/health.rs`).

use belljar_model::health::CheckVerdict;

use super::*;

fn checked(code: u8) -> Checked {
    Checked { began_at_ms: 0, took_ms: 1, verdict: CheckVerdict::Exited(code), output: "curl: (7) refused\n".into() }
}

fn health(status: HealthStatus) -> Health {
    Health { status, failing_streak: 3, log: Vec::new() }
}

#[test]
fn a_change_is_told_once_with_the_last_line() {
    let (mut told, now) = (Told::new(HealthStatus::Starting), Instant::now());
    assert_eq!(told.news(&health(HealthStatus::Starting), &checked(1), now), None);
    let unhealthy = (EventKind::Unhealthy, "its check failed 3 times in a row: curl: (7) refused".to_owned());
    assert_eq!(told.news(&health(HealthStatus::Unhealthy), &checked(7), now), Some(unhealthy));
    assert_eq!(told.news(&health(HealthStatus::Unhealthy), &checked(7), now), None);
    let healthy = (EventKind::Healthy, "its check succeeds: curl: (7) refused".to_owned());
    assert_eq!(told.news(&health(HealthStatus::Healthy), &checked(0), now), Some(healthy));
}

#[test]
fn one_that_goes_back_and_forth_is_told_ever_more_rarely_and_its_last_state_is_not_lost() {
    let (mut told, now) = (Told::new(HealthStatus::Starting), Instant::now());
    let both = [HealthStatus::Unhealthy, HealthStatus::Healthy];
    let mut count = |from: Duration| (0..100).filter(|turn| told.news(&health(both[turn % 2]), &checked(1), now + from).is_some()).count();
    assert_eq!(count(Duration::ZERO), EVENTS_AT_ONCE_MAX as usize);
    assert_eq!(count(EVENT_EVERY / 2), 0);
    assert_eq!(count(EVENT_EVERY), 1);
    assert_eq!(count(EVENT_EVERY * 3), 2);
    // What it stayed is told once that is possible again.
    let last = both.map(|status| told.news(&health(status), &checked(1), now + EVENT_EVERY * 4).is_some());
    assert_eq!(last.iter().filter(|told| **told).count(), 1);
}

#[test]
fn those_that_begin_together_are_spread_and_none_comes_late() {
    let pause = Duration::from_secs(30);
    let at = |from, spread| first_pause(pause, from, spread).as_secs_f64();
    assert_eq!((at(From::Start, 0.0), at(From::Start, 1.0)), (30.0, 22.5));
    assert_eq!((at(From::Found, 0.0), at(From::Found, 1.0)), (0.0, 10.0));
    let ids: Vec<f64> = (0..=255).map(|byte| spread(&ContainerId::from_bytes([byte; 32]))).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]) && ids[0] == 0.0 && ids[255] == 1.0);
}

#[test]
fn a_life_that_is_over_has_no_health_and_keeps_what_its_checks_said() {
    let (board, id, check) = (Board::default(), ContainerId::from_bytes([1; 32]), HealthCheck::of(vec!["true".into()]));
    assert_eq!(board.of(&id).status, HealthStatus::None);
    let take = |board: &Board| board.take(&id, |health| health.take(&check, 0, checked(1)));
    assert_eq!(take(&board), None, "it does not live");
    board.begin(&id);
    assert_eq!(take(&board).map(|health| (health.status, health.failing_streak)), Some((HealthStatus::Starting, 1)));
    board.end(&id);
    assert_eq!((board.of(&id).status, board.of(&id).failing_streak, board.of(&id).log.len()), (HealthStatus::None, 0, 1));
    assert_eq!(take(&board), None, "a result that comes late");
    board.begin(&id);
    assert!(board.of(&id).log.is_empty());
    board.forget(&id);
    assert!(board.all().is_empty());
}
