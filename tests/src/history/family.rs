//! A history family by family, and what was before what.

use super::call::{Action, Answer, Call, History, Moment, Outcome};
use super::tables::{Row, Tables};
use crate::format::digest;
use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::time::Duration;
use uuid::Uuid;

/// How much the clocks of client and server may differ. Far less than any window or step of a load.
const MARGIN: Duration = Duration::from_secs(5);

/// `refresh_tokens.idle_timeout` as installed, which no load changes.
const IDLE_TIMEOUT: Duration = Duration::from_hours(15 * 24);

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sure {
    /// It is not.
    No,
    /// It is or isn't: calls overlapped, or a moment is too close to the end of a window.
    Maybe,
    /// It is.
    Yes,
}

impl Sure {
    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
            Self::Yes => Self::No,
        }
    }

    /// Whether any of them is so.
    fn any(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().max().unwrap_or(Self::No)
    }

    /// What all agree on.
    fn agreed(all: impl IntoIterator<Item = Self>) -> Self {
        let mut all = all.into_iter();
        let first = all.next().unwrap_or(Self::No);
        if all.all(|next| next == first) {
            first
        } else {
            Self::Maybe
        }
    }
}

/// A call with what the tables add to it.
pub(super) struct Seen<'h> {
    call: &'h Call,
    /// What became of it, as far as the rows it left tell where the client wasn't told.
    pub(super) outcome: Outcome,
    /// The digest of the token presented.
    pub(super) presented: Option<String>,
    /// The digest of the token answered.
    pub(super) answered: Option<String>,
}

impl Deref for Seen<'_> {
    type Target = Call;

    fn deref(&self) -> &Call {
        self.call
    }
}

/// A token that a call minted, or may have minted.
struct Birth<'w> {
    token: &'w str,
    parent: Option<&'w str>,
    /// Whether it was rotated to, and so can be derived from its parent.
    rotated: bool,
    by: &'w Seen<'w>,
}

/// A history and the tables that it left.
pub(super) struct World<'h> {
    pub(super) tables: &'h Tables,
    calls: Vec<Seen<'h>>,
    /// The rows that no answer tells of, each with the lost calls that may have left it.
    untold: Vec<(&'h Row, Vec<usize>)>,
    /// The sessions of all tokens.
    sessions: HashMap<String, Uuid>,
}

/// The calls that touch one session, and what they did to it.
pub(super) struct Family<'w> {
    pub(super) session: Uuid,
    pub(super) calls: Vec<&'w Seen<'w>>,
    pub(super) rows: Vec<&'w Row>,
    /// What ended it, and whether that call, if it counts at all, did.
    pub(super) ends: Vec<(&'w Seen<'w>, Sure)>,
    births: Vec<Birth<'w>>,
    /// The expiries by hand.
    expiries: Vec<&'w Seen<'w>>,
    ages: Vec<(&'w Seen<'w>, Duration)>,
}

impl<'h> World<'h> {
    pub(super) fn new(history: &'h History, tables: &'h Tables) -> Self {
        let mut calls: Vec<_> = history.calls.iter().map(Seen::new).collect();
        let untold = settle(&mut calls, tables);
        let of_rows = tables
            .rows
            .iter()
            .map(|row| (row.token.clone(), row.session));
        let of_answers = calls.iter().filter_map(|seen| {
            let session = seen.answer.grant()?.session_id?;
            Some((seen.answered.clone()?, session))
        });
        let sessions = of_answers.chain(of_rows).collect();
        Self {
            tables,
            calls,
            untold,
            sessions,
        }
    }

    /// Every family.
    pub(super) fn families(&self) -> Vec<Family<'_>> {
        let mut families: HashMap<Uuid, Family<'_>> = HashMap::new();
        let mut of_user: HashMap<&str, HashSet<Uuid>> = HashMap::new();
        for row in &self.tables.rows {
            of_user.entry(&row.user).or_default().insert(row.session);
            let family = families.entry(row.session);
            family
                .or_insert_with(|| Family::new(row.session))
                .rows
                .push(row);
        }
        for seen in &self.calls {
            if let Action::Login { user, .. } = &seen.action {
                of_user.entry(user).or_default().extend(self.session(seen));
            }
        }
        for seen in &self.calls {
            let touched: Vec<_> = match &seen.action {
                Action::RevokeUser { user, except } => {
                    let all = of_user.get(user.as_str()).into_iter().flatten().copied();
                    all.filter(|&session| Some(session) != *except).collect()
                }
                _ => self.session(seen).into_iter().collect(),
            };
            for session in touched {
                let family = families.entry(session);
                family
                    .or_insert_with(|| Family::new(session))
                    .calls
                    .push(seen);
            }
        }
        for (row, makers) in &self.untold {
            let family = families
                .get_mut(&row.session)
                .expect("the row was seen above");
            family.births.extend(makers.iter().map(|&maker| Birth {
                token: &row.token,
                parent: row.parent.as_deref(),
                rotated: matches!(self.calls[maker].action, Action::Rotate { .. }),
                by: &self.calls[maker],
            }));
        }
        families.into_values().map(Family::complete).collect()
    }

    /// The calls that present what nobody was given as a token.
    pub(super) fn strays(&self) -> impl Iterator<Item = &Seen<'h>> {
        let stray = |seen: &&Seen<'h>| seen.presented.is_some() && self.session(seen).is_none();
        self.calls.iter().filter(stray)
    }

    /// The rows that no call explains.
    pub(super) fn unexplained(&self) -> impl Iterator<Item = &'h Row> {
        let unexplained = self.untold.iter().filter(|(_, makers)| makers.is_empty());
        unexplained.map(|(row, _)| *row)
    }

    /// The session of the token that a call presents, or else the one that it names or was answered.
    fn session(&self, seen: &Seen<'_>) -> Option<Uuid> {
        match &seen.presented {
            Some(token) => self.sessions.get(token).copied(),
            None => (seen.action.session())
                .or_else(|| seen.answer.grant().and_then(|grant| grant.session_id)),
        }
    }
}

/// Lets the rows tell what became of transactions where the client doesn't know; gives the rows that no
/// answer tells of, each with the calls whose lost answer may have.
fn settle<'h>(calls: &mut [Seen<'h>], tables: &'h Tables) -> Vec<(&'h Row, Vec<usize>)> {
    let ids: HashSet<_> = tables.rows.iter().map(|row| row.id).collect();
    let mut told = HashSet::new();
    let mut known = HashMap::new();
    for seen in calls.iter() {
        if let Some(id) = seen.answer.minted().and_then(|grant| grant.token_id) {
            told.insert(id);
            if !seen.is_void() {
                known.insert(seen.transaction, ids.contains(&id));
            }
        }
    }
    let lost = |seen: &Seen<'_>| seen.answer == Answer::Lost && !seen.is_void();
    let lost: Vec<_> = (0..calls.len()).filter(|&at| lost(&calls[at])).collect();
    let untold: Vec<_> = (tables.rows.iter())
        .filter(|row| !told.contains(&row.id))
        .map(|row| {
            let makers = lost
                .iter()
                .copied()
                .filter(|&at| calls[at].may_have_left(row));
            (row, makers.collect::<Vec<_>>())
        })
        .collect();
    for (_, makers) in &untold {
        if let [maker] = makers[..] {
            known.insert(calls[maker].transaction, true);
        }
    }
    for seen in calls
        .iter_mut()
        .filter(|seen| seen.outcome == Outcome::Unknown)
    {
        match known.get(&seen.transaction) {
            Some(true) => seen.outcome = Outcome::Committed,
            Some(false) => seen.outcome = Outcome::RolledBack,
            None => {}
        }
    }
    untold
}

impl<'h> Seen<'h> {
    fn new(call: &'h Call) -> Self {
        let answered = call.answer.grant().and_then(|grant| grant.token.as_deref());
        Self {
            call,
            outcome: call.outcome,
            presented: call.action.token().map(digest),
            answered: answered.map(digest),
        }
    }

    /// Whether what it did never became, or stayed, anything.
    pub(super) fn is_void(&self) -> bool {
        self.undone.is_some() || self.outcome == Outcome::RolledBack
    }

    /// Whether it may have detected a reuse, which ends the family also where the transaction is rolled back: not at once, and
    /// not where what it saw was rolled back, too.
    pub(super) fn may_outlive(&self) -> bool {
        let detected = match &self.answer {
            Answer::Grant(grant) => grant.status == "reuse_detected",
            answer => *answer == Answer::Lost,
        };
        detected && self.settings.revokes && matches!(self.action, Action::Rotate { .. })
    }

    /// Whether, its answer being lost, it may have been what left `row`.
    fn may_have_left(&self, row: &Row) -> bool {
        match &self.action {
            Action::Login { user, .. } => row.parent.is_none() && row.user == *user,
            Action::Issue { session, .. } => row.session == *session,
            Action::Rotate { .. } => row.parent == self.presented,
            _ => false,
        }
    }

    /// Whether `call` finds what this one did. What only reads sees its transaction's snapshot; what
    /// locks and then meets something newer than that fails.
    fn is_seen_by(&self, call: &Seen<'_>) -> Sure {
        match call.action {
            Action::Explain { .. } | Action::IsLive { .. } => self.is_in_snapshot_of(call),
            _ => self.is_before(call, call.begin),
        }
    }

    /// Whether what this one did is in the snapshot that `call` finds rows in.
    fn is_in_snapshot_of(&self, call: &Seen<'_>) -> Sure {
        self.is_before(call, call.snapshot.unwrap_or(call.begin))
    }

    fn is_before(&self, call: &Seen<'_>, since: Moment) -> Sure {
        let is_own = self.transaction == call.transaction;
        let undone = match is_own {
            true => self.undone.is_some_and(|at| at < call.begin),
            false => self.is_void(),
        };
        if self.begin > call.end || (undone && !self.may_outlive()) {
            Sure::No
        } else if undone {
            Sure::Maybe
        } else if is_own {
            if self.begin < call.begin {
                Sure::Yes
            } else {
                Sure::No
            }
        } else if self.outcome == Outcome::Committed && self.settled < since {
            Sure::Yes
        } else {
            Sure::Maybe
        }
    }
}

impl<'w> Family<'w> {
    fn new(session: Uuid) -> Self {
        Self {
            session,
            calls: Vec::new(),
            rows: Vec::new(),
            ends: Vec::new(),
            births: Vec::new(),
            expiries: Vec::new(),
            ages: Vec::new(),
        }
    }

    /// Sorts its calls by what they did.
    fn complete(mut self) -> Self {
        for &seen in &self.calls {
            match seen.action {
                _ if matches!(seen.answer, Answer::Error(_)) => {}
                Action::Expire { .. } => self.expiries.push(seen),
                Action::Age { by, .. } => self.ages.push((seen, by)),
                _ => self.births.extend(self.birth(seen)),
            }
        }
        // Of what revokes a user's sessions nothing matters that was over before this one began.
        let born = self.births.iter().map(|birth| birth.by.begin).min();
        self.calls.retain(|seen| Some(seen.end) > born);
        let calls = self.calls.iter().copied();
        self.ends = calls.map(|seen| (seen, self.is_end(seen))).collect();
        // What lives now never ended: the calls that may have ended it did not.
        let lives = self.rows.iter().any(|row| !row.revoked);
        self.ends.retain(|(seen, sure)| match sure {
            Sure::No => false,
            Sure::Maybe => !lives,
            Sure::Yes => !(lives && seen.outcome == Outcome::Unknown),
        });
        self
    }

    fn birth(&self, seen: &'w Seen<'w>) -> Option<Birth<'w>> {
        let grant = seen.answer.minted()?;
        let rotated = matches!(seen.action, Action::Rotate { .. });
        let row = self.rows.iter().find(|row| Some(row.id) == grant.token_id);
        Some(Birth {
            token: seen.answered.as_deref()?,
            parent: if rotated {
                seen.presented.as_deref()
            } else {
                row.and_then(|row| row.parent.as_deref())
            },
            rotated,
            by: seen,
        })
    }

    /// Whether a call, if it counts at all, ended the family; it may have been ended before.
    fn is_end(&self, seen: &Seen<'_>) -> Sure {
        let revokes = seen.settings.revokes;
        match (&seen.action, &seen.answer) {
            (Action::Rotate { .. }, Answer::Grant(grant))
                if revokes && grant.status == "reuse_detected" =>
            {
                if seen.is_void() {
                    Sure::Maybe
                } else {
                    Sure::Yes
                }
            }
            // One that is known to be committed is known by the row that it left: it rotated.
            (Action::Rotate { .. }, Answer::Lost)
                if revokes && seen.outcome != Outcome::Committed =>
            {
                Sure::Maybe
            }
            // What is past its not_after is ended as well: by the clock alone it has not been.
            (Action::RevokeUser { .. }, Answer::Count(_))
            | (Action::RevokeSession { .. }, Answer::Count(0)) => self.is_born(seen),
            (_, Answer::Count(0)) => self.is_known(seen),
            (_, Answer::Count(_)) => Sure::Yes,
            (action, Answer::Lost) if action.is_revocation() => Sure::Maybe,
            _ => Sure::No,
        }
    }

    /// The OAuth client that its tokens are bound to.
    pub(super) fn client(&self) -> Option<&'w str> {
        self.births
            .iter()
            .find_map(|birth| match &birth.by.action {
                Action::Login { client, .. } => Some(client.as_deref()),
                _ => None,
            })?
    }

    // ---- facts, as `seen` finds them ---------------------------------------------------------------

    /// The session is there.
    pub(super) fn is_born(&self, seen: &Seen<'_>) -> Sure {
        let logins = self
            .births
            .iter()
            .filter(|birth| matches!(birth.by.action, Action::Login { .. }));
        Sure::any(logins.map(|birth| birth.by.is_in_snapshot_of(seen)))
    }

    /// The token presented is there.
    pub(super) fn is_known(&self, seen: &Seen<'_>) -> Sure {
        let births = self
            .births
            .iter()
            .filter(|birth| Some(birth.token) == seen.presented.as_deref());
        Sure::any(births.map(|birth| birth.by.is_in_snapshot_of(seen)))
    }

    /// `token` has a child, and so is revoked.
    pub(super) fn is_replaced(&self, token: &str, seen: &Seen<'_>) -> Sure {
        Sure::any(
            self.children(token, seen)
                .map(|child| child.by.is_seen_by(seen)),
        )
    }

    /// The family was revoked.
    pub(super) fn is_ended(&self, seen: &Seen<'_>) -> Sure {
        Sure::any(
            self.ends
                .iter()
                .map(|(end, sure)| end.is_seen_by(seen).min(*sure)),
        )
    }

    /// The session is past its end, whether or not it was revoked.
    pub(super) fn is_expired(&self, seen: &Seen<'_>) -> Sure {
        let idle = |(age, by): &(&Seen<'_>, Duration)| match *by > IDLE_TIMEOUT {
            true => age.is_seen_by(seen),
            false => Sure::No,
        };
        let aged = (self.ages.iter())
            .filter(|(age, _)| age.is_seen_by(seen) != Sure::No)
            .map(|(_, by)| *by);
        let perhaps_idle = aged.sum::<Duration>() + MARGIN > IDLE_TIMEOUT;
        Sure::any(self.ages.iter().map(idle))
            .max(if perhaps_idle { Sure::Maybe } else { Sure::No })
            .max(self.is_past_not_after(seen))
    }

    /// The session is past its `not_after`, which a hand has set.
    fn is_past_not_after(&self, seen: &Seen<'_>) -> Sure {
        Sure::any(self.expiries.iter().map(|expiry| expiry.is_seen_by(seen)))
    }

    /// `token`, having a child, was presented as an honest client may.
    pub(super) fn is_honest(&self, token: &str, seen: &Seen<'_>) -> Sure {
        Sure::agreed(self.children(token, seen).map(|child| {
            let age = self.age(child.by, seen);
            let lives = self.is_replaced(child.token, seen).not();
            let lost_response = covers(seen.settings.lost_response_interval, age).min(lives);
            covers(seen.settings.reuse_interval, age).max(lost_response)
        }))
    }

    /// The descendants of `token` that may be live, and whether they can be derived from it.
    pub(super) fn live_below(&self, token: &str, seen: &Seen<'_>) -> Vec<(&'w str, Sure)> {
        let mut live = Vec::new();
        let rotated = |birth: &Birth<'_>| if birth.rotated { Sure::Yes } else { Sure::No };
        let children = self.children(token, seen);
        let mut pending: Vec<_> = children.map(|child| (child, rotated(child))).collect();
        while let Some((birth, derivable)) = pending.pop() {
            if self.is_replaced(birth.token, seen) != Sure::Yes {
                live.push((birth.token, derivable));
            }
            let next = self.children(birth.token, seen);
            pending.extend(next.map(|child| (child, derivable.min(self.kept_key(birth, child)))));
        }
        live
    }

    /// The tokens that may have replaced `token`.
    fn children(&self, token: &str, seen: &Seen<'_>) -> impl Iterator<Item = &Birth<'w>> {
        self.births.iter().filter(move |birth| {
            birth.parent == Some(token) && birth.by.is_seen_by(seen) != Sure::No
        })
    }

    /// Whether the rotation to `child` kept the derivation key that `parent` was derived with.
    fn kept_key(&self, parent: &Birth<'_>, child: &Birth<'_>) -> Sure {
        let interval = child.by.settings.reuse_interval;
        if !child.rotated || interval == 0 {
            return Sure::No;
        }
        // A use of `parent` while rotation was off may have come in between.
        covers(interval, self.age(parent.by, child.by)).max(Sure::Maybe)
    }

    /// How long before `later` the call `earlier` was at least, and at most, as the tables tell it.
    fn age(&self, earlier: &Seen<'_>, later: &Seen<'_>) -> (Duration, Duration) {
        let mut least = later.begin.at.saturating_sub(earlier.end.at);
        let mut most = later.end.at.saturating_sub(earlier.begin.at);
        for (age, by) in &self.ages {
            let (after, before) = (earlier.is_seen_by(age), age.is_seen_by(later));
            if after == Sure::Yes && before == Sure::Yes {
                least += *by;
            }
            if before != Sure::No && age.is_seen_by(earlier) != Sure::Yes {
                most += *by;
            }
        }
        (least, most)
    }
}

/// Whether a setting of so many seconds covers an age between these two.
fn covers(seconds: i32, (least, most): (Duration, Duration)) -> Sure {
    let Ok(length) = u64::try_from(seconds) else {
        return Sure::Yes;
    };
    let length = Duration::from_secs(length);
    if length.is_zero() || least > length + MARGIN {
        Sure::No
    } else if most + MARGIN <= length {
        Sure::Yes
    } else {
        Sure::Maybe
    }
}
