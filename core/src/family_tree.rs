//! A family drawn as a tree, for people who look at it.

use crate::time::{Micros, Timestamp};
use std::collections::{HashMap, HashSet};

/// A token's row, as far as the drawing shows it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its `id`.
    pub id: i64,
    /// Its digest: who its children name as `parent`.
    pub digest: Option<String>,
    /// The digest of the token that it replaced.
    pub parent: Option<String>,
    /// Whether it is revoked.
    pub revoked: bool,
    /// When it was minted.
    pub created_at: Option<Timestamp>,
    /// When it was last changed: for a revoked token, when it was revoked.
    pub updated_at: Option<Timestamp>,
}

/// What joins a token to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strokes {
    /// Box characters.
    Box,
    /// For a client whose encoding has none.
    Ascii,
}

impl Strokes {
    fn branch(self) -> &'static str {
        match self {
            Self::Box => "└─ ",
            Self::Ascii => "`- ",
        }
    }
}

/// From this generation on lines are not indented further: a family may be 100,000 tokens long.
const MAX_INDENT: usize = 24;

/// One line per token: indentation by generation, id, state and age. No token, digest or key.
///
/// Members whose parent isn't among `members` start a tree; so does one member of each cycle, so
/// that every member is drawn once, whatever the rows say.
pub fn draw(members: &[Member], now: Timestamp, strokes: Strokes) -> Vec<String> {
    let present: HashSet<_> = members.iter().filter_map(|m| m.digest.as_deref()).collect();
    let mut children: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, member) in members.iter().enumerate() {
        if let Some(parent) = member.parent.as_deref() {
            children.entry(parent).or_default().push(at);
        }
    }
    let is_root = |m: &Member| m.parent.as_deref().is_none_or(|p| !present.contains(p));
    let roots = (0..members.len()).filter(|&at| is_root(&members[at]));

    let mut drawn = vec![false; members.len()];
    let mut lines = Vec::with_capacity(members.len());
    for root in roots.chain(0..members.len()) {
        let mut pending = vec![(root, 0)];
        while let Some((at, depth)) = pending.pop() {
            if std::mem::replace(&mut drawn[at], true) {
                continue;
            }
            lines.push(line(&members[at], depth, now, strokes));
            let digest = members[at].digest.as_deref().unwrap_or_default();
            let below = children.get(digest).into_iter().flatten().rev();
            pending.extend(below.map(|&child| (child, depth + 1)));
        }
    }
    lines
}

fn line(member: &Member, depth: usize, now: Timestamp, strokes: Strokes) -> String {
    let indent = match depth {
        0 => String::new(),
        depth => "   ".repeat(depth.min(MAX_INDENT) - 1) + strokes.branch(),
    };
    let age =
        |at: Option<Timestamp>| at.map_or("at an unknown time".into(), |at| ago(now.since(at)));
    let state = if member.revoked {
        format!("revoked {}", age(member.updated_at))
    } else {
        "live".into()
    };
    format!(
        "{indent}{}  {state}, issued {}",
        member.id,
        age(member.created_at)
    )
}

/// `age` to the largest unit that fits, in the units of PostgreSQL's settings: `90 s` is `1 min ago`.
fn ago(age: Micros) -> String {
    let seconds = age.0.div_euclid(1_000_000).max(0);
    let (number, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "min"),
        3_600..86_400 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("{number} {unit} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: i64, parent: Option<i64>, revoked: bool, age: i64) -> Member {
        let at = Some(Timestamp(-age * 1_000_000));
        Member {
            id,
            digest: Some(format!("d{id}")),
            parent: parent.map(|p| format!("d{p}")),
            revoked,
            created_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn a_chain_is_a_stair() {
        let family = [
            member(1, None, true, 90_000),
            member(2, Some(1), true, 120),
            member(3, Some(2), false, 5),
        ];
        assert_eq!(
            draw(&family, Timestamp(0), Strokes::Box),
            [
                "1  revoked 1 d ago, issued 1 d ago",
                "└─ 2  revoked 2 min ago, issued 2 min ago",
                "   └─ 3  live, issued 5 s ago",
            ]
        );
    }

    #[test]
    fn a_stair_can_be_drawn_in_ascii() {
        let family: Vec<_> = (1..=4)
            .map(|id| member(id, Some(id - 1), true, 1))
            .collect();
        let lines = draw(&family, Timestamp(0), Strokes::Ascii);
        assert!(lines.iter().all(|line| line.is_ascii()));
        assert!(lines[3].starts_with("      `- 4  revoked"), "{lines:?}");
    }

    #[test]
    fn every_member_is_drawn_once() {
        // a cycle (1, 2), a branch below 2 (3, 4), an orphan (5), itself its parent (6)
        let family = [
            member(1, Some(2), true, 1),
            member(2, Some(1), true, 1),
            member(3, Some(2), true, 1),
            member(4, Some(2), true, 1),
            member(5, Some(99), true, 1),
            member(6, Some(6), true, 1),
        ];
        let lines = draw(&family, Timestamp(0), Strokes::Box);
        assert_eq!(lines.len(), 6);
        for id in 1..=6 {
            let drawn = lines
                .iter()
                .filter(|l| l.contains(&format!("{id}  revoked")));
            assert_eq!(drawn.count(), 1, "{lines:?}");
        }
    }

    #[test]
    fn a_long_family_stays_narrow() {
        let family: Vec<_> = (1..=100_000)
            .map(|id| member(id, Some(id - 1), true, 1))
            .collect();
        let lines = draw(&family, Timestamp(0), Strokes::Box);
        assert_eq!(lines.len(), family.len());
        assert!(lines.iter().all(|l| l.chars().count() < 160));
    }

    #[test]
    fn a_bare_row_is_drawn_too() {
        let bare = Member {
            id: 7,
            digest: None,
            parent: None,
            revoked: true,
            created_at: None,
            updated_at: None,
        };
        assert_eq!(
            draw(&[bare], Timestamp(0), Strokes::Box),
            ["7  revoked at an unknown time, issued at an unknown time"]
        );
    }
}
