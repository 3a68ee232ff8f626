//! What a load does next.

use super::{Family, Mix, Worker, locked};
use crate::format::unknown_token;
use crate::history::call::{Action, Settings};
use std::time::Duration;

/// A family with so many tokens makes room for another.
const LONG: usize = 30;

/// How many users share the sessions.
const USERS: usize = 5;

/// What is done with a family.
#[derive(Clone, Copy)]
enum Choice {
    Rotate(Held),
    Impostor,
    Explain,
    IsLive,
    Issue,
    RevokeToken,
    RevokeFamily,
    RevokeSession,
    RevokeUser,
    Age,
    Expire,
}

/// Which token somebody holds.
#[derive(Clone, Copy)]
enum Held {
    Newest,
    Parent,
    Grandparent,
    /// An older one, as often as there are older ones.
    Stolen,
    Garbage,
    Unknown,
    /// One that was answered in a transaction that was rolled back.
    Ghost,
    /// Another family's.
    Other,
}

impl Worker<'_> {
    pub(super) fn some_settings(&mut self) -> Settings {
        if self.shared.load.mix == Mix::Plain || self.random.one_in(2) {
            return Settings::USUAL;
        }
        Settings {
            rotation: !self.random.one_in(10),
            reuse_interval: self.random.weighted(&[(1, 0), (2, 60), (2, 3600)]),
            lost_response_interval: self.random.weighted(&[(2, 0), (2, 86_400), (1, -1)]),
            revokes: !self.random.one_in(4),
        }
    }

    /// The family in `place`. None: log in.
    pub(super) fn family(&mut self, place: usize) -> Option<Family> {
        let family = locked(&self.shared.families[place]).clone()?;
        let worn = family.refused || family.tokens.len() > LONG;
        Some(family).filter(|_| !(worn && self.random.one_in(4)))
    }

    /// What to do with a family. Not `alone`: it is locked already, and so no other must be waited for.
    pub(super) fn action(&mut self, family: Option<&Family>, alone: bool) -> Action {
        use Choice::*;
        const ALL: &[(usize, Choice)] = &[
            (300, Rotate(Held::Newest)),
            (120, Rotate(Held::Parent)),
            (60, Rotate(Held::Grandparent)),
            (40, Rotate(Held::Stolen)),
            (20, Rotate(Held::Garbage)),
            (20, Rotate(Held::Unknown)),
            (20, Impostor),
            (80, Explain),
            (80, IsLive),
            (40, Issue),
            (20, RevokeToken),
            (20, RevokeFamily),
            (20, RevokeSession),
        ];
        // An imitation's tokens are no tokens to the extension's other functions; their digests are.
        const PLAIN: &[(usize, Choice)] = &[
            (50, Rotate(Held::Newest)),
            (15, Rotate(Held::Parent)),
            (10, Rotate(Held::Stolen)),
            (5, IsLive),
            (10, RevokeFamily),
            (10, RevokeSession),
        ];
        const ALONE: &[(usize, Choice)] = &[
            (2, Rotate(Held::Ghost)),
            (2, Rotate(Held::Other)),
            (2, RevokeUser),
            (4, Age),
            (1, Expire),
        ];
        let Some(family) = family else {
            return self.login();
        };
        let mix = self.shared.load.mix;
        let choice = if alone && mix == Mix::All && self.random.one_in(8) {
            self.random.weighted(ALONE)
        } else {
            self.random
                .weighted(if mix == Mix::All { ALL } else { PLAIN })
        };
        let (session, client) = (family.session, family.client.clone());
        match choice {
            Rotate(held) => Action::Rotate {
                token: self.token(family, held),
                client,
            },
            Impostor => Action::Rotate {
                token: self.known_token(family),
                client: Some("impostor".into()),
            },
            Explain => Action::Explain {
                token: self.known_token(family),
            },
            RevokeToken => Action::RevokeToken {
                token: self.known_token(family),
            },
            RevokeFamily => Action::RevokeFamily {
                token: self.known_token(family),
            },
            RevokeSession => Action::RevokeSession { session },
            IsLive => Action::IsLive { session },
            Expire => Action::Expire { session },
            Issue => Action::Issue {
                user: family.user.clone(),
                session,
            },
            RevokeUser => Action::RevokeUser {
                user: family.user.clone(),
                except: self.random.one_in(2).then_some(session),
            },
            Age => Action::Age {
                session,
                by: self.random.weighted(&[
                    (4, Duration::from_secs(90)),
                    (4, Duration::from_hours(2)),
                    (4, Duration::from_hours(48)),
                    (1, Duration::from_hours(16 * 24)),
                ]),
            },
        }
    }

    fn login(&mut self) -> Action {
        Action::Login {
            user: format!("user {}", self.random.below(USERS)),
            client: self.random.one_in(3).then(|| "app".into()),
        }
    }

    fn known_token(&mut self, family: &Family) -> String {
        let choices = [
            (4, Held::Newest),
            (2, Held::Parent),
            (1, Held::Grandparent),
            (1, Held::Stolen),
        ];
        let held = self.random.weighted(&choices);
        self.token(family, held)
    }

    fn token(&mut self, family: &Family, held: Held) -> String {
        let from_newest = |generations: usize| {
            let newest = family.tokens.len() - 1;
            family.tokens[newest.saturating_sub(generations)].clone()
        };
        match held {
            Held::Newest => from_newest(0),
            Held::Parent => from_newest(1),
            Held::Grandparent => from_newest(2),
            Held::Stolen => from_newest(3 + self.random.below(family.tokens.len())),
            Held::Garbage => "garbage".into(),
            Held::Unknown => unknown_token(),
            Held::Ghost => locked(&self.shared.ghosts)
                .pop()
                .unwrap_or_else(unknown_token),
            Held::Other => {
                let place = self.random.below(self.shared.families.len());
                let other = locked(&self.shared.families[place]).clone();
                other.map_or_else(unknown_token, |other| self.token(&other, Held::Newest))
            }
        }
    }
}
