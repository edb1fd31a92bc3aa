//! Many names at once: each costs system calls and nothing else, so processors share them. Knows nothing of layers.

use std::thread;

use super::Error;

/// Fewest names that are worth a thread of their own: starting one takes as long as asking for a dozen.
const NAMES_A_THREAD: usize = 128;
/// Most threads for one answer: what else the host does must not wait for somebody's looking.
const THREADS_MAX: usize = 4;

/// What `each` says of every item, in their order, without what it has nothing to say of; or an error that one of them met.
pub(super) fn filter_map<I, T>(items: &[I], each: impl Fn(&I) -> Result<Option<T>, Error> + Sync) -> Result<Vec<T>, Error>
where
    I: Sync,
    T: Send,
{
    let processors = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let share = items.len().div_ceil(processors).max(NAMES_A_THREAD);
    let of = |items: &[I]| items.iter().filter_map(|item| each(item).transpose()).collect::<Result<Vec<T>, Error>>();
    let (own, rest) = items.split_at(share.min(items.len()));
    thread::scope(|scope| {
        // A host that has no more threads to give has this one.
        let begin = |items| thread::Builder::new().spawn_scoped(scope, move || of(items)).map_err(|_| items);
        // Collected: all have to be under way before this one begins its own share.
        let others: Vec<_> = rest.chunks(share).map(begin).collect();
        let mut told = of(own)?;
        for other in others {
            let more = match other {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(items) => of(items),
            };
            told.extend(more?);
        }
        Ok(told)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_in_order_however_many_share_it() {
        for count in [0, 1, NAMES_A_THREAD - 1, NAMES_A_THREAD + 1, 10 * NAMES_A_THREAD + 7] {
            let items: Vec<usize> = (0..count).collect();
            let told = filter_map(&items, |item| Ok(item.is_multiple_of(3).then_some(*item))).unwrap();
            assert_eq!(told, items.iter().copied().filter(|item| item.is_multiple_of(3)).collect::<Vec<_>>(), "{count}");
        }
    }

    #[test]
    fn an_error_of_any_share_is_the_answer() {
        let items: Vec<usize> = (0..10 * NAMES_A_THREAD).collect();
        for bad in [0, items.len() / 2, items.len() - 1] {
            let failing = |item: &usize| if *item == bad { Err(Error::TooMany { what: "names", max: 1 }) } else { Ok(Some(())) };
            assert!(matches!(filter_map(&items, failing), Err(Error::TooMany { .. })), "{bad}");
        }
    }
}
