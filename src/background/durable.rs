//! A reuse that was detected ends the family, whatever becomes of the transaction that detected it
//! (docs/design.md#verdict): a framework rolls back after a refusal, or a request fails on the answer after the call.
//!
//! Whoever detects a reuse takes a *ticket*, a lock that its transaction holds, and starts a worker, which waits for the
//! same lock. PostgreSQL hands it over when the transaction ends, the savepoint is rolled back, the connection breaks, or
//! the transaction that was prepared is finished. The worker then looks: where the verdict was committed there is nothing
//! to do; where it was undone, it ends the family. There are two tickets, so never more than two workers.
//!
//! A crash of the server in between undoes both: what it takes back was never answered for good.

use super::{has_extension, report, settle, take_signals, transaction, worker};
use crate::log;
use crate::store::{self, DetectedReuse};
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerStatus, DynamicBackgroundWorker};
use pgrx::check_for_interrupts;
use pgrx::prelude::*;
use refresh_tokens_core::label::Label;
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::verdict::Reuse;
use std::time::{Duration, Instant};

const NAME: &str = "refresh_tokens durable reuse";

/// How many workers there are at the most, of the server's `max_worker_processes` (8 by default).
const TICKETS: u16 = 2;

/// How long a free ticket is waited for. The session is locked meanwhile, and one of a pool's connections in use.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a worker may take to queue for the ticket.
const START: Duration = Duration::from_secs(1);

/// How often a worker tries.
const ATTEMPTS: usize = 5;

/// Sees to it that `reuse` outlives the transaction, or warns in the log that it does not.
pub fn make_durable(reuse: &DetectedReuse) {
    if !start_worker(reuse) {
        log::not_durable();
    }
}

/// Starts a worker for `reuse`, and gives whether there is one.
fn start_worker(reuse: &DetectedReuse) -> bool {
    let Some(ticket) = Ticket::take() else {
        return false;
    };
    // SAFETY: plain variables of the backend.
    let (pid, database) = unsafe { (pg_sys::MyProcPid, pg_sys::MyDatabaseId) };
    let errand = Errand {
        ticket,
        database,
        // SAFETY: as above; the function that detected the reuse runs as its owner.
        owner: unsafe { pg_sys::GetUserId() },
        reuse: reuse.clone(),
    };
    let worker = worker(NAME, NAME, "refresh_tokens_durable_reuse_worker")
        .set_extra(&errand.encode())
        .set_notify_pid(pid)
        .load_dynamic();
    let is_there = worker.is_ok_and(|worker| is_queued(&worker, &errand.ticket));
    if !is_there {
        errand.ticket.give_back();
    }
    is_there
}

/// Waits until `worker` queues for `ticket`: before that, somebody else could take it, and start one worker more. False: it
/// ended without.
fn is_queued(worker: &DynamicBackgroundWorker, ticket: &Ticket) -> bool {
    let began = Instant::now();
    while !ticket.is_waited_for() && began.elapsed() < START {
        if matches!(
            worker.pid(),
            Err(BackgroundWorkerStatus::Stopped | BackgroundWorkerStatus::PostmasterDied)
        ) {
            return false;
        }
        sleep();
    }
    true
}

/// Sleeps for a moment, unless there is an interrupt to take.
fn sleep() {
    // SAFETY: keeps nothing.
    unsafe { pg_sys::pg_usleep(500) };
    check_for_interrupts!();
}

/// A lock on a made-up object: no statement locks it, and all that the lock table asks is that all agree on its
/// number. Its place is that of objects which all databases share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticket(u16);

/// What [`Ticket`]s are locked in.
const MODE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;

impl Ticket {
    /// One that is free, for as long as the (sub)transaction lasts; none if there is none for a while.
    fn take() -> Option<Self> {
        let began = Instant::now();
        loop {
            let own = (0..TICKETS).filter(|&number| Self(number).is_own()).count();
            let free = (0..TICKETS).map(Self).find(Self::try_take);
            // What this very transaction holds it will not get by waiting.
            if free.is_some() || own == usize::from(TICKETS) || began.elapsed() > PATIENCE {
                return free;
            }
            sleep();
        }
    }

    fn tag(self) -> pg_sys::LOCKTAG {
        pg_sys::LOCKTAG {
            locktag_field1: 0,
            locktag_field2: pg_sys::ExtensionRelationId.to_u32(),
            locktag_field3: u32::from_be_bytes(*b"pgrt"),
            locktag_field4: self.0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        }
    }

    /// Whether this transaction has it.
    fn is_own(self) -> bool {
        // SAFETY: looks into the backend's own table of locks.
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        unsafe {
            pg_sys::LockHeldByMe(&self.tag(), MODE)
        }
        // SAFETY: as above; the lock itself, not a stronger one.
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        unsafe {
            pg_sys::LockHeldByMe(&self.tag(), MODE, false)
        }
    }

    /// Takes it, if nobody has it or waits for it.
    fn try_take(&self) -> bool {
        if self.is_own() {
            return false;
        }
        // SAFETY: takes numbers only. The lock is the current resource owner's, so it ends with the (sub)transaction.
        let result = unsafe { pg_sys::LockAcquire(&self.tag(), MODE, false, true) };
        result == pg_sys::LockAcquireResult::LOCKACQUIRE_OK
    }

    /// Waits for it.
    fn wait(self) {
        // SAFETY: as above.
        unsafe { pg_sys::LockAcquire(&self.tag(), MODE, false, false) };
    }

    /// Whether somebody waits for it, which this transaction has.
    fn is_waited_for(self) -> bool {
        // SAFETY: as above.
        unsafe { pg_sys::LockHasWaiters(&self.tag(), MODE, false) }
    }

    fn give_back(self) {
        // SAFETY: taken by this transaction, and given back once.
        unsafe { pg_sys::LockRelease(&self.tag(), MODE, false) };
    }
}

/// What a worker is told.
#[derive(Debug, PartialEq)]
struct Errand {
    ticket: Ticket,
    database: pg_sys::Oid,
    owner: pg_sys::Oid,
    reuse: DetectedReuse,
}

/// How many bytes a worker can be told (BGW_EXTRALEN, without the NUL).
const MAX_LEN: usize = 127;

impl Errand {
    /// The errand as words. Of the user agent, which comes last, there is as much as fits.
    fn encode(&self) -> String {
        let reuse = &self.reuse;
        let mut words = format!(
            "{:x} {:x} {:x} {:x} {:x} {} {} {}{}{} {} {}",
            self.ticket.0,
            self.database.to_u32(),
            self.owner.to_u32(),
            reuse.token_id,
            reuse.at.0,
            reuse
                .revoked_at
                .map_or("-".into(), |at| format!("{:x}", at.0)),
            reuse.kind.label(),
            u8::from(reuse.ends_family),
            u8::from(reuse.is_recorded),
            u8::from(reuse.notifies),
            reuse.ip.as_ref().map_or("-", |ip| ip.0.as_str()),
            reuse.user_agent.as_deref().unwrap_or_default(),
        );
        words.truncate(words.floor_char_boundary(MAX_LEN));
        words
    }

    fn decode(words: &str) -> Option<Self> {
        let mut words = words.splitn(10, ' ');
        let ticket = u16::from_str_radix(words.next()?, 16).ok()?;
        let mut oid = || u32::from_str_radix(words.next()?, 16).ok();
        let (database, owner) = (oid()?, oid()?);
        let number = |word: &str| u64::from_str_radix(word, 16).ok().map(u64::cast_signed);
        let (token_id, at) = (number(words.next()?)?, number(words.next()?)?);
        let revoked_at = match words.next()? {
            "-" => None,
            word => Some(Timestamp(number(word)?)),
        };
        let label = words.next()?;
        let mut kinds = [Reuse::Stale, Reuse::Parent].into_iter();
        let kind = kinds.find(|kind| kind.label() == label)?;
        let [ends_family, is_recorded, notifies] = *words.next()?.as_bytes() else {
            return None;
        };
        let ip = words.next()?;
        let user_agent = words.next()?;
        Some(Self {
            ticket: Ticket(ticket),
            database: database.into(),
            owner: owner.into(),
            reuse: DetectedReuse {
                kind,
                token_id,
                revoked_at,
                at: Timestamp(at),
                ends_family: ends_family == b'1',
                is_recorded: is_recorded == b'1',
                notifies: notifies == b'1',
                ip: (ip != "-").then(|| pgrx::Inet(ip.to_owned())),
                user_agent: (!user_agent.is_empty()).then(|| user_agent.to_owned()),
            },
        })
    }
}

/// A worker's life. Called by PostgreSQL in a process of its own.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn refresh_tokens_durable_reuse_worker(_argument: pg_sys::Datum) {
    take_signals();
    let Some(errand) = Errand::decode(BackgroundWorker::get_extra()) else {
        pgrx::log!(
            "refresh_tokens: a worker can't read what it was told: was the library replaced?"
        );
        return;
    };
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(errand.database), None);
    settle();
    report("durable reuse: waits for the end of the transaction that detected it");
    // A statement that locks the tables in another order may get in its way: then this gives way, and tries again.
    for _ in 1..ATTEMPTS {
        let done = PgTryBuilder::new(|| act(&errand))
            .catch_when(PgSqlErrorCode::ERRCODE_T_R_DEADLOCK_DETECTED, |_| false)
            .execute();
        if done {
            return;
        }
        // SAFETY: the transaction that failed is ended, as in a worker's loop after an error.
        unsafe { pg_sys::AbortCurrentTransaction() };
        sleep();
    }
    act(&errand);
}

/// Waits for the transaction that detected the reuse, and does again what was undone. True.
fn act(errand: &Errand) -> bool {
    transaction(
        || errand.ticket.wait(),
        || has_extension().then_some(errand.owner),
        || store::write(|store| store.end_reused(&errand.reuse)),
    );
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand() -> Errand {
        Errand {
            ticket: Ticket(1),
            database: 5.into(),
            owner: 16_384.into(),
            reuse: DetectedReuse {
                kind: Reuse::Parent,
                token_id: i64::MAX,
                revoked_at: Some(Timestamp(-1)),
                at: Timestamp(800_000_000_000_000),
                ends_family: true,
                is_recorded: false,
                notifies: true,
                ip: Some(pgrx::Inet("192.0.2.7/32".into())),
                user_agent: Some("a b".into()),
            },
        }
    }

    #[test]
    fn a_worker_is_told_what_there_is_to_do() {
        let mut errand = errand();
        assert_eq!(Errand::decode(&errand.encode()), Some(errand));
        errand = self::errand();
        errand.reuse.ip = None;
        errand.reuse.user_agent = None;
        errand.reuse.revoked_at = None;
        assert_eq!(Errand::decode(&errand.encode()), Some(errand));
    }

    #[test]
    fn of_a_long_user_agent_it_is_told_the_beginning() {
        let mut errand = errand();
        errand.reuse.user_agent = Some("ü".repeat(1024));
        errand.database = u32::MAX.into();
        errand.owner = u32::MAX.into();
        errand.reuse.at = Timestamp(-1);
        let words = errand.encode();
        assert!(words.len() <= MAX_LEN && words.len() > MAX_LEN - 2);
        let told = Errand::decode(&words).unwrap().reuse.user_agent.unwrap();
        assert!(!told.is_empty() && "ü".repeat(1024).starts_with(&told));
    }

    #[test]
    fn what_can_not_be_read_is_no_errand() {
        for words in [
            "",
            "1",
            "1 2 3 4 5 - stale 111 -",
            "1 2 3 4 5 - x 111 - ",
            "1 2 3 4 5 - stale 11 - ",
        ] {
            assert_eq!(Errand::decode(words), None, "{words}");
        }
    }
}
