//! A token that somebody presents: its verdict, what is done about it, and the answer.

use crate::api::event::{notifies, record};
use crate::background::{counters, durable};
use crate::error::Error;
use crate::random::{random, random_uuid};
use crate::store::{Caller, DetectedReuse, Family, Lookup, Store};
use crate::{log, settings};
use refresh_tokens_core::oauth::{introspection, scope};
use refresh_tokens_core::sessions::{Policy, ReuseAction, Session};
use refresh_tokens_core::tokens::{DerivationKey, Digest, Token, descend};
use refresh_tokens_core::verdict::{
    Event, Grant, Presented, Retry, Reuse, Status, Verdict, late_for_retry, verdict,
};
use serde_json::Value;

/// How often a token whose row changes between lookup and lock is looked up again.
const ATTEMPTS: usize = 3;

/// One use of one token.
pub(in crate::api) struct TokenUse<'a> {
    store: &'a Store<'a>,
    token: &'a Token,
    policy: Policy,
}

impl<'a> TokenUse<'a> {
    /// A use of `token` by the settings in force.
    pub(in crate::api) fn new(store: &'a Store<'a>, token: &'a Token) -> Self {
        Self {
            store,
            token,
            policy: settings::policy(),
        }
    }

    /// Uses the token on behalf of `client_id`: rotates it, answers a retry with its child, or detects its reuse. The
    /// answer is counted.
    pub(in crate::api) fn rotate(
        &self,
        client_id: Option<&str>,
        caller: &Caller<'_>,
    ) -> Result<Grant, Error> {
        let digest = self.token.digest();
        let mut failure = Error::Contended;
        for attempt in 0..ATTEMPTS {
            let fresh_key = attempt > 0;
            match self.attempt(&digest, client_id, caller, fresh_key)? {
                Attempt::Answered(grant) => {
                    counters::count(grant.status);
                    return Ok(*grant);
                }
                Attempt::Changed => failure = Error::Contended,
                Attempt::NotWritten => failure = Error::NotWritten,
            }
        }
        Err(failure)
    }

    /// Looks the token up, locks its family, and does what the verdict asks for.
    fn attempt(
        &self,
        digest: &Digest,
        client_id: Option<&str>,
        caller: &Caller<'_>,
        fresh_key: bool,
    ) -> Result<Attempt, Error> {
        let mut lookup = self.store.lock(digest)?;
        if let Lookup::LockedLive(family) = &mut lookup {
            // A token found live can be rotated without reading its family: the write tests it again.
            if self.verdict(family, client_id) == Verdict::Rotate
                && let Some(grant) = self.apply(Verdict::Rotate, family, caller, fresh_key)?
            {
                return Ok(Attempt::answered(grant));
            }
            lookup = self.store.read_locked(digest)?;
        }
        let mut family = match lookup {
            Lookup::NotFound => return Ok(Attempt::answered(Grant::refused(Status::NotFound))),
            Lookup::LockedLive(_) | Lookup::Changed => return Ok(Attempt::Changed),
            Lookup::LockedFamily(family) => family,
        };
        let verdict = self.verdict(&family, client_id);
        let grant = self.apply(verdict, &mut family, caller, fresh_key)?;
        // A token that is live under the lock is revoked by no other transaction.
        Ok(grant.map_or(Attempt::NotWritten, Attempt::answered))
    }

    fn verdict(&self, family: &Family, client_id: Option<&str>) -> Verdict {
        verdict(&family.facts, client_id, &self.policy, family.now)
    }

    /// Does and records what `verdict` asks for. None: the token was not rotated, as [`TokenUse::rotate_live`] says.
    fn apply(
        &self,
        verdict: Verdict,
        family: &mut Family,
        caller: &Caller<'_>,
        fresh_key: bool,
    ) -> Result<Option<Grant>, Error> {
        let grant = match verdict {
            Verdict::Rotate => match self.rotate_live(family, caller, fresh_key)? {
                Some(grant) => grant,
                None => return Ok(None),
            },
            Verdict::Keep => self.touch(family, caller)?,
            Verdict::Reuse(_) => self.end_family(verdict, family)?,
            other => self.answer(other, family)?,
        };
        self.record_event(verdict, &grant, family, caller)?;
        Ok(Some(grant))
    }

    /// The answer that [`TokenUse::rotate`] would give to the right client, without the token.
    pub(in crate::api) fn explain(&self) -> Result<Grant, Error> {
        let Some((verdict, family)) = self.peek()? else {
            return Ok(Grant::refused(Status::NotFound));
        };
        let grant = self.answer(verdict, &family)?;
        Ok(Grant {
            refresh_token: None,
            ..grant
        })
    }

    /// The verdict that the right client would get, and what it is about, without a lock. None: there is
    /// no such token.
    fn peek(&self) -> Result<Option<(Verdict, Box<Family>)>, Error> {
        let family = self.store.peek(&self.token.digest())?;
        Ok(family.map(|family| {
            let client = family.facts.session.client_id.as_deref();
            (self.verdict(&family, client), family)
        }))
    }

    /// The answer to a verdict, where nothing is written.
    fn answer(&self, verdict: Verdict, family: &Family) -> Result<Grant, Error> {
        let refused = |status| Grant::refused_token(status, &family.facts.session, family.row);
        Ok(match verdict {
            Verdict::ClientMismatch => Grant::refused(Status::ClientMismatch),
            Verdict::Expired(expiry) => Grant::expired(&family.facts.session, family.row, expiry),
            Verdict::Rotate => self.granted(Status::Rotated, family),
            Verdict::Keep => self.granted(Status::Unchanged, family),
            Verdict::Retry(retry) => self
                .retry(family, retry)?
                .unwrap_or_else(|| refused(Status::Revoked)),
            Verdict::Reuse(_) => refused(Status::ReuseDetected),
            Verdict::Revoked => refused(Status::Revoked),
        })
    }

    fn granted(&self, status: Status, family: &Family) -> Grant {
        let token = Some(self.token.clone());
        Grant::granted(
            status,
            token,
            &family.facts.session,
            family.row,
            &self.policy,
        )
    }

    /// Revokes the token and mints its child. None: it was live before the lock was held, and is not any more; or
    /// somebody changed the row without the lock, or set it live again though it had been rotated under this key: a
    /// `fresh_key` helps then.
    fn rotate_live(
        &self,
        family: &mut Family,
        caller: &Caller<'_>,
        fresh_key: bool,
    ) -> Result<Option<Grant>, Error> {
        self.create_session(family)?;
        let keeps = |session: &Session| session.keeps_derivation_key(&self.policy, family.now);
        let kept = match !fresh_key && keeps(&family.facts.session) {
            true => family.key.take(),
            false => None,
        };
        let is_kept = kept.is_some();
        let key = kept.map_or_else(|| random().map(DerivationKey::new), Ok)?;
        let child = key.child_of(self.token);
        // Nobody can have derived a child with a fresh key.
        if is_kept && self.store.exists(&child.digest())? {
            return Ok(None);
        }
        let row = self.store.rotate(family, &child.digest(), &key, caller)?;
        Ok(row.map(|row| {
            let session = family.facts.session.refreshed(family.now);
            Grant::granted(Status::Rotated, Some(child), &session, row, &self.policy)
        }))
    }

    /// Records the use of a token that stays as it is.
    fn touch(&self, family: &mut Family, caller: &Caller<'_>) -> Result<Grant, Error> {
        self.create_session(family)?;
        if let Some(id) = family.facts.session.id {
            self.store.touch(id, family.now, caller)?;
        }
        family.facts.session = family.facts.session.refreshed(family.now);
        Ok(self.granted(Status::Unchanged, family))
    }

    /// The live token again, if it descends from the presented one.
    fn retry(&self, family: &Family, retry: Retry) -> Result<Option<Grant>, Error> {
        let (Some(session), Some(key), Some((row, live))) =
            (family.facts.session.id, &family.key, &family.live)
        else {
            return Ok(None);
        };
        let Some(descent) = descend(self.token, key, live, family.rotations) else {
            return Ok(None);
        };
        if !self.store.descends(session, &descent)? {
            return Ok(None);
        }
        let (token, session) = (Some(descent.token), &family.facts.session);
        let grant = Grant::granted(Status::Retried, token, session, *row, &self.policy);
        Ok(Some(grant.because(retry)))
    }

    /// Ends the family of a token that somebody else has a copy of.
    fn end_family(&self, verdict: Verdict, family: &Family) -> Result<Grant, Error> {
        if self.ends_families() {
            self.store.end_family(family, family.now)?;
        }
        self.answer(verdict, family)
    }

    /// Whether a reuse ends the family.
    fn ends_families(&self) -> bool {
        self.policy.reuse_action == ReuseAction::RevokeSession
    }

    /// Records what happened, logs a reuse, and lets it outlive the transaction.
    fn record_event(
        &self,
        verdict: Verdict,
        grant: &Grant,
        family: &Family,
        caller: &Caller<'_>,
    ) -> Result<(), Error> {
        let Some(event) = self.event(verdict, grant.status, family)? else {
            return Ok(());
        };
        let presented = family.row.id;
        let token = match event {
            Event::Rotated | Event::Retried(_) => grant.token_id.unwrap_or(presented),
            _ => presented,
        };
        let is_news = record(self.store, event, &[token], family.now, caller)?;
        if let Event::ReuseDetected(reuse) = event
            && is_news
        {
            log::reuse(reuse, family.facts.session.id, presented, family.now);
        }
        if let Verdict::Reuse(reuse) = verdict {
            let is_recorded = is_news && settings::recorded().includes(event);
            self.make_durable(reuse, family, caller, is_recorded);
        }
        Ok(())
    }

    /// The event that a verdict and its answer are; none: nothing to record.
    fn event(
        &self,
        verdict: Verdict,
        status: Status,
        family: &Family,
    ) -> Result<Option<Event>, Error> {
        Ok(match (verdict, status) {
            (Verdict::ClientMismatch, _) => Some(Event::ClientMismatch),
            (Verdict::Reuse(reuse), _) => Some(Event::ReuseDetected(reuse)),
            (Verdict::Revoked, _) if self.is_reuse_after_revocation(family)? => {
                Some(Event::ReuseDetected(Reuse::AfterRevocation))
            }
            (_, Status::Rotated) => Some(Event::Rotated),
            (Verdict::Retry(retry), Status::Retried) => Some(Event::Retried(retry)),
            _ => None,
        })
    }

    fn is_reuse_after_revocation(&self, family: &Family) -> Result<bool, Error> {
        Ok(late_for_retry(&family.facts, &self.policy, family.now)
            && self.store.has_child(&self.token.digest())?)
    }

    /// Lets what the reuse did, if it did anything, outlive the transaction.
    fn make_durable(&self, kind: Reuse, family: &Family, caller: &Caller<'_>, is_recorded: bool) {
        if !settings::durable_reuse() || !(self.ends_families() || is_recorded) {
            return;
        }
        let Presented::Revoked(revoked_at) = family.facts.presented else {
            return;
        };
        durable::make_durable(&DetectedReuse {
            kind,
            token_id: family.row.id,
            revoked_at,
            at: family.now,
            ends_family: self.ends_families(),
            is_recorded,
            notifies: notifies(Event::ReuseDetected(kind)),
            user_agent: caller.user_agent.map(Into::into),
            ip: caller.ip.clone(),
        });
    }

    /// Whether `scope` asks for more than the session has, where `client_id` would be given a token. Since that
    /// tells whoever asks that the token is live, it is recorded; the token stays as it is, for the client
    /// that asked for too much. What else there is to refuse is for [`TokenUse::rotate`] to say.
    pub(in crate::api) fn exceeds(
        &self,
        client_id: Option<&str>,
        scope: &str,
        caller: &Caller<'_>,
    ) -> Result<bool, Error> {
        let Some((Verdict::Rotate | Verdict::Keep | Verdict::Retry(_), family)) = self.peek()?
        else {
            return Ok(false);
        };
        let session = &family.facts.session;
        if session.client_id.as_deref() != client_id {
            return Ok(false);
        }
        let granted = session.id.map_or(Ok(None), |id| self.store.scopes(id))?;
        if scope::is_within(scope, &granted.unwrap_or_default()) {
            return Ok(false);
        }
        let tokens = [family.row.id];
        record(
            self.store,
            Event::ScopeExceeded,
            &tokens,
            family.now,
            caller,
        )?;
        Ok(true)
    }

    /// The answer of introspection to somebody who `may_see` tokens of certain users: only a live token is active.
    pub(in crate::api) fn introspect(
        &self,
        may_see: impl FnOnce(Option<&str>) -> bool,
    ) -> Result<Value, Error> {
        let Some((Verdict::Rotate | Verdict::Keep, family)) = self.peek()? else {
            return Ok(introspection::inactive());
        };
        let session = &family.facts.session;
        if !may_see(session.user_id.as_deref()) {
            return Ok(introspection::inactive());
        }
        let scopes = session.id.map_or(Ok(None), |id| self.store.scopes(id))?;
        Ok(introspection::active(
            session,
            family.row,
            scopes.as_deref(),
            &self.policy,
        ))
    }

    /// Gives a family without a session one, whose id has the slot that its tokens have.
    fn create_session(&self, family: &mut Family) -> Result<(), Error> {
        if let Some(orphans) = &family.orphans {
            let id = self.token.slot().stamp(random_uuid()?);
            let session = &family.facts.session;
            self.store
                .create_session_for(orphans, family.row.id, id, session, family.now)?;
            family.facts.session.id = Some(id);
        }
        Ok(())
    }
}

/// What came of one attempt to use a token.
enum Attempt {
    Answered(Box<Grant>),
    /// The row changed between lookup and lock.
    Changed,
    /// The token is live under the lock and was not rotated.
    NotWritten,
}

impl Attempt {
    fn answered(grant: Grant) -> Self {
        Self::Answered(Box::new(grant))
    }
}

/// Reads a token that is presented to be used; none, and counted as such, if it is malformed.
pub(in crate::api) fn parse_presented(token: Option<&str>) -> Option<Token> {
    let token = parse(token);
    if token.is_none() {
        counters::count(Status::Malformed);
    }
    token
}

/// Reads a token; none if it is NULL or not a token of ours.
pub(in crate::api) fn parse(token: Option<&str>) -> Option<Token> {
    token.and_then(Token::parse)
}
