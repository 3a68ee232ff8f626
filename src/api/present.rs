//! A presented token: what the verdict means for the client.

use super::event::{notifies, record};
use crate::background::durable;
use crate::counters;
use crate::derivation::{self, DerivationKey};
use crate::digest::Digest;
use crate::error::{self, Error};
use crate::event::Event;
use crate::grant::{Grant, Status};
use crate::introspection;
use crate::policy::{Policy, ReuseAction};
use crate::recent;
use crate::scope;
use crate::secret::random_uuid;
use crate::settings;
use crate::store::{Caller, Claim, DetectedReuse, Held, Store};
use crate::token::Token;
use crate::verdict::{Presented, Retry, Reuse, Verdict, may_be_reuse_after_revocation, verdict};
use serde_json::Value;

/// How often a token that changes hands in the same moment is claimed again.
const ATTEMPTS: usize = 3;

/// One presentation of one token.
pub(super) struct Presentation<'a> {
    pub(super) store: &'a Store<'a>,
    pub(super) token: &'a Token,
    pub(super) policy: &'a Policy,
}

impl Presentation<'_> {
    /// Uses the token on behalf of `client_id`: rotates it, answers a retry with its child, or detects its reuse. The
    /// answer is counted.
    pub(super) fn rotate(
        &self,
        client_id: Option<&str>,
        caller: &Caller<'_>,
    ) -> Result<Grant, Error> {
        let grant = self.claim_and_act(client_id, caller)?;
        counters::count(grant.status);
        Ok(grant)
    }

    fn claim_and_act(&self, client_id: Option<&str>, caller: &Caller<'_>) -> Result<Grant, Error> {
        let digest = self.token.digest();
        let mut stopped_by = Error::Contended;
        for attempt in 0..ATTEMPTS {
            let may_keep_key = attempt == 0;
            let mut claim = self.store.claim(&digest)?;
            if let Claim::Found(held) = &mut claim {
                if self.verdict(held, client_id) == Verdict::Rotate
                    && let Some(grant) = self.act(Verdict::Rotate, held, caller, may_keep_key)?
                {
                    return Ok(grant);
                }
                claim = self.store.read_claimed(&digest)?;
            }
            let mut held = match claim {
                Claim::NotFound => return Ok(Grant::refused(Status::NotFound)),
                Claim::Raced | Claim::Found(_) => {
                    stopped_by = Error::Contended;
                    continue;
                }
                Claim::Held(held) => held,
            };
            let verdict = self.verdict(&held, client_id);
            if let Some(grant) = self.act(verdict, &mut held, caller, may_keep_key)? {
                return Ok(grant);
            }
            // It is live under the lock, and can't be revoked: no other transaction does that.
            stopped_by = Error::NotWritten;
        }
        Err(stopped_by)
    }

    fn verdict(&self, held: &Held, client_id: Option<&str>) -> Verdict {
        verdict(&held.facts, client_id, self.policy, held.now)
    }

    /// Does and records what `verdict` asks for. None: the token is not live, as [`Presentation::swap`] has it.
    fn act(
        &self,
        verdict: Verdict,
        held: &mut Held,
        caller: &Caller<'_>,
        may_keep_key: bool,
    ) -> Result<Option<Grant>, Error> {
        let grant = match verdict {
            Verdict::Rotate => match self.swap(held, caller, may_keep_key)? {
                Some(grant) => grant,
                None => return Ok(None),
            },
            Verdict::Keep => self.keep(held, caller)?,
            Verdict::Reuse(_) => self.end_family(verdict, held)?,
            other => self.answer(other, held)?,
        };
        self.tell(verdict, &grant, held, caller)?;
        Ok(Some(grant))
    }

    /// The answer that [`Presentation::rotate`] would give to the right client, without the token.
    pub(super) fn explain(&self) -> Result<Grant, Error> {
        let Some((verdict, held)) = self.look()? else {
            return Ok(Grant::refused(Status::NotFound));
        };
        let grant = self.answer(verdict, &held)?;
        Ok(Grant {
            refresh_token: None,
            ..grant
        })
    }

    /// The verdict that the right client would get, and what it is about, without a lock. None: there is
    /// no such token.
    fn look(&self) -> Result<Option<(Verdict, Box<Held>)>, Error> {
        let held = match self.store.look(&self.token.digest())? {
            Claim::NotFound => return Ok(None),
            Claim::Raced => return Err(Error::Contended),
            Claim::Held(held) | Claim::Found(held) => held,
        };
        let verdict = self.verdict(&held, held.facts.session.client_id.as_deref());
        Ok(Some((verdict, held)))
    }

    /// The answer to a verdict, where nothing is written.
    fn answer(&self, verdict: Verdict, held: &Held) -> Result<Grant, Error> {
        let refused = |status| Grant::refused_token(status, &held.facts.session, held.row);
        Ok(match verdict {
            Verdict::ClientMismatch => Grant::refused(Status::ClientMismatch),
            Verdict::Expired(expiry) => Grant::expired(&held.facts.session, held.row, expiry),
            Verdict::Rotate => self.granted(Status::Rotated, held),
            Verdict::Keep => self.granted(Status::Unchanged, held),
            Verdict::Retry(retry) => self
                .retry(held, retry)?
                .unwrap_or_else(|| refused(Status::Revoked)),
            Verdict::Reuse(_) => refused(Status::ReuseDetected),
            Verdict::Revoked => refused(Status::Revoked),
        })
    }

    fn granted(&self, status: Status, held: &Held) -> Grant {
        let token = Some(self.token.clone());
        Grant::granted(status, token, &held.facts.session, held.row, self.policy)
    }

    /// Revokes the token and mints its child. None: it was live before the lock was held, and is not any
    /// more; or somebody changed the row without the lock, or set it live again though it had been
    /// rotated under this key: the next attempt takes another one.
    fn swap(
        &self,
        held: &mut Held,
        caller: &Caller<'_>,
        may_keep_key: bool,
    ) -> Result<Option<Grant>, Error> {
        self.adopt(held)?;
        let kept = held.key.take_if(|_| {
            may_keep_key && derivation::keeps_key(&held.facts.session, self.policy, held.now)
        });
        let is_kept = kept.is_some();
        let key = match kept {
            Some(key) => key,
            None => DerivationKey::generate()?,
        };
        let child = self.token.child(&key);
        // Nobody can have derived a child with a fresh key.
        if is_kept && self.store.exists(&child.digest())? {
            return Ok(None);
        }
        let row = self.store.rotate(held, &child.digest(), &key, caller)?;
        Ok(row.map(|row| {
            let session = held.facts.session.refreshed(held.now);
            Grant::granted(Status::Rotated, Some(child), &session, row, self.policy)
        }))
    }

    /// Records the use of a token that stays as it is.
    fn keep(&self, held: &mut Held, caller: &Caller<'_>) -> Result<Grant, Error> {
        self.adopt(held)?;
        if let Some(id) = held.facts.session.id {
            self.store.touch(id, held.now, caller)?;
        }
        held.facts.session = held.facts.session.refreshed(held.now);
        Ok(self.granted(Status::Unchanged, held))
    }

    /// The live token again, if it descends from the presented one.
    fn retry(&self, held: &Held, retry: Retry) -> Result<Option<Grant>, Error> {
        let (Some(session), Some(key), Some((row, live))) =
            (held.facts.session.id, &held.key, &held.live)
        else {
            return Ok(None);
        };
        let Some(descent) = derivation::descend(self.token, key, live, held.rotations) else {
            return Ok(None);
        };
        if !self.store.descends(session, &descent)? {
            return Ok(None);
        }
        let (token, session) = (Some(descent.token), &held.facts.session);
        let grant = Grant::granted(Status::Retried, token, session, *row, self.policy);
        Ok(Some(grant.because(retry)))
    }

    /// Ends the family of a token that somebody else has a copy of.
    fn end_family(&self, verdict: Verdict, held: &Held) -> Result<Grant, Error> {
        if self.ends_families() {
            self.store.end_family(held, held.now)?;
        }
        self.answer(verdict, held)
    }

    /// Whether a reuse ends the family.
    fn ends_families(&self) -> bool {
        self.policy.reuse_action == ReuseAction::RevokeSession
    }

    /// Records what happened, and logs a reuse: once a minute for each token, as it is recorded.
    fn tell(
        &self,
        verdict: Verdict,
        grant: &Grant,
        held: &Held,
        caller: &Caller<'_>,
    ) -> Result<(), Error> {
        let presented = held.row.id;
        let (event, token) = match (verdict, grant.status) {
            (Verdict::ClientMismatch, _) => (Event::ClientMismatch, presented),
            (Verdict::Reuse(reuse), _) => (Event::ReuseDetected(reuse), presented),
            (Verdict::Revoked, _) if self.is_reuse_after_revocation(held)? => {
                (Event::ReuseDetected(Reuse::AfterRevocation), presented)
            }
            (_, Status::Rotated) => (Event::Rotated, grant.token_id.unwrap_or(presented)),
            (Verdict::Retry(retry), Status::Retried) => (
                Event::Retried(retry.label()),
                grant.token_id.unwrap_or(presented),
            ),
            _ => return Ok(()),
        };
        let is_news = record(self.store, event, &[token], held.now, caller)?;
        if let Event::ReuseDetected(reuse) = event
            && is_news
            && recent::is_first(presented, held.now)
        {
            error::log_reuse(reuse, held.facts.session.id, presented);
        }
        if let Verdict::Reuse(reuse) = verdict {
            let is_recorded = is_news && settings::recorded().includes(event);
            self.outlive(reuse, held, caller, is_recorded);
        }
        Ok(())
    }

    /// Lets what the reuse did, if it did anything, outlive the transaction.
    fn outlive(&self, kind: Reuse, held: &Held, caller: &Caller<'_>, is_recorded: bool) {
        if !settings::durable_reuse() || !(self.ends_families() || is_recorded) {
            return;
        }
        let Presented::Revoked(revoked_at) = held.facts.presented else {
            return;
        };
        durable::outlive(&DetectedReuse {
            kind,
            token_id: held.row.id,
            revoked_at,
            at: held.now,
            ends_family: self.ends_families(),
            is_recorded,
            notifies: notifies(Event::ReuseDetected(kind)),
            user_agent: caller.user_agent.map(Into::into),
            ip: caller.ip.clone(),
        });
    }

    fn is_reuse_after_revocation(&self, held: &Held) -> Result<bool, Error> {
        Ok(
            may_be_reuse_after_revocation(&held.facts, self.policy, held.now)
                && self.store.has_child(&self.token.digest())?,
        )
    }

    /// Whether `scope` asks for more than the session has, where `client_id` would be given a token. Since that
    /// tells whoever asks that the token is live, it is recorded; the token stays as it is, for the client
    /// that asked for too much. What else there is to refuse is for [`Presentation::rotate`] to say.
    pub(super) fn exceeds(
        &self,
        client_id: Option<&str>,
        scope: &str,
        caller: &Caller<'_>,
    ) -> Result<bool, Error> {
        let Some((Verdict::Rotate | Verdict::Keep | Verdict::Retry(_), held)) = self.look()? else {
            return Ok(false);
        };
        let session = &held.facts.session;
        if session.client_id.as_deref() != client_id {
            return Ok(false);
        }
        let granted = session.id.map_or(Ok(None), |id| self.store.scopes(id))?;
        if scope::is_within(scope, &granted.unwrap_or_default()) {
            return Ok(false);
        }
        record(
            self.store,
            Event::ScopeExceeded,
            &[held.row.id],
            held.now,
            caller,
        )?;
        Ok(true)
    }

    /// The answer of introspection to somebody who `may_see` tokens of certain users: only a live token is active.
    pub(super) fn introspect(
        &self,
        may_see: impl FnOnce(Option<&str>) -> bool,
    ) -> Result<Value, Error> {
        let Some((Verdict::Rotate | Verdict::Keep, held)) = self.look()? else {
            return Ok(introspection::inactive());
        };
        let session = &held.facts.session;
        if !may_see(session.user_id.as_deref()) {
            return Ok(introspection::inactive());
        }
        let scopes = session.id.map_or(Ok(None), |id| self.store.scopes(id))?;
        Ok(introspection::active(
            session,
            held.row,
            scopes.as_deref(),
            self.policy,
        ))
    }

    /// Gives a family without a session one, whose id has the slot that its tokens have.
    fn adopt(&self, held: &mut Held) -> Result<(), Error> {
        if let Some(chain) = &held.chain {
            let id = self.token.slot().stamp(random_uuid()?);
            let session = &held.facts.session;
            self.store
                .adopt(chain, held.row.id, id, session, held.now)?;
            held.facts.session.id = Some(id);
        }
        Ok(())
    }
}

/// Reads a token that is presented to be used; none, and counted as such, if it is malformed.
pub(super) fn parse_presented(token: Option<&str>) -> Option<Token> {
    let token = parse(token);
    if token.is_none() {
        counters::count(Status::Malformed);
    }
    token
}

/// Reads a token; none if it is NULL or not a token of ours.
pub(super) fn parse(token: Option<&str>) -> Option<Token> {
    token.and_then(Token::parse)
}

/// The value that the tables show for `value`, which is a token or such a value itself.
pub(super) fn stored_value(value: &str) -> StoredValue<'_> {
    match Token::parse(value) {
        Some(token) => StoredValue::Digest(token.digest()),
        None => StoredValue::Verbatim(value),
    }
}

/// A value of the columns `token` and `parent`.
pub(super) enum StoredValue<'a> {
    Digest(Digest),
    Verbatim(&'a str),
}

impl StoredValue<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Digest(digest) => digest.as_str(),
            Self::Verbatim(value) => value,
        }
    }
}
