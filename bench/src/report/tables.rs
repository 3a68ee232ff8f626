//! The other sections: a table each, some with a picture.

use super::chart::Bar;
use super::median::Median;
use super::table::{Cell, Columns, Table};
use super::{Done, Report};
use crate::results::{Call, Cost, Family, Memory, Peer, Policy, Refusal, Scale, User};
use serde_json::{Map, Value};
use std::slice;

impl Report {
    /// WAL, buffers, growth, HOT updates.
    ///
    /// # Errors
    /// A picture can't be written.
    pub fn costs(&mut self, costs: &[Cost]) -> Done {
        let columns = Columns::default()
            .column("contender", "contender", |cost: &Cost| {
                cost.contender.name().into()
            })
            .column("WAL bytes", "wal_bytes", |cost| (&cost.wal).into())
            .column(
                "WAL right after a checkpoint",
                "wal_bytes_after_checkpoint",
                |cost| (&cost.wal_full_pages).into(),
            )
            .column("buffers", "buffers", |cost| (&cost.buffers).into())
            .column("growth, bytes", "growth_bytes", |cost| {
                (&cost.growth).into()
            })
            .column(
                "HOT updates of sessions",
                "hot_updates_of_sessions",
                |cost| Cell::Share(cost.hot),
            );
        self.section("Each refresh, beside CPU", "costs", costs, &columns);
        let bar = |cost: &Cost| Bar::of(cost.contender.name(), &cost.wal);
        let bars: Vec<_> = costs.iter().map(bar).collect();
        self.chart(
            "wal",
            "WAL bytes per refresh",
            "without full-page images",
            &bars,
        )
    }

    /// Refusals of malformed tokens, of which the first is ours.
    pub fn refusals(&mut self, refusals: &[Refusal]) {
        let columns = Columns::default()
            .column("called", "called", |refusal: &Refusal| refusal.name.into())
            .column("calls per second", "calls_per_second", |refusal| {
                (&refusal.rate).into()
            })
            .column("server CPU, µs", "cpu_us", |refusal| (&refusal.cpu).into())
            .column(
                "rate of the refusal to it",
                "rate_of_refusal_to_it",
                |refusal| ratio(&refusals[0].rate, &refusal.rate),
            );
        self.section(
            "Malformed tokens, one connection",
            "malformed",
            refusals,
            &columns,
        );
    }

    /// Reading through a policy.
    pub fn policy(&mut self, policy: &Policy) {
        let columns = Columns::default()
            .column("rows", "rows", |policy: &Policy| policy.rows.into())
            .column("server CPU a row, µs", "cpu_us_per_row", |policy| {
                (&policy.with).into()
            })
            .column("without the policy", "cpu_us_per_row_without", |policy| {
                (&policy.without).into()
            });
        let title = "is_session_live in a row level security policy, for each row";
        self.print(&Table::of(title, slice::from_ref(policy), &columns));
        self.keep("row_level_security", columns.json(policy));
    }

    /// A backend's memory.
    pub fn memory(&mut self, memory: &[Memory]) {
        let columns = Columns::default()
            .column("rotations", "rotations", |memory: &Memory| {
                memory.calls.into()
            })
            .printed("private memory, kB", |memory| {
                (memory.private / 1024).into()
            })
            .printed("memory contexts, kB", |memory| {
                (memory.contexts / 1024).into()
            })
            .kept("private_bytes", |memory| memory.private.into())
            .kept("memory_contexts_bytes", |memory| memory.contexts.into());
        self.section("Memory of one backend", "memory", memory, &columns);
    }

    /// Calls other than a rotation that counts.
    pub fn calls(&mut self, calls: &[Call]) {
        let columns = Columns::default()
            .printed("call", |call: &Call| call.name.into())
            .printed("server CPU, µs", |call| (&call.cpu).into());
        self.print(&Table::of("Other calls", calls, &columns));
        let by_name = calls.iter().map(|call| {
            let median = Median::of(call.cpu.iter().copied());
            (call.name.to_owned(), median.json())
        });
        let by_name = Value::Object(by_name.collect::<Map<_, _>>());
        self.keep("calls_cpu_us", by_name);
    }

    /// Libraries for Python; the first is this extension.
    pub fn peers(&mut self, peers: &[Peer]) {
        let columns = Columns::default()
            .column("library", "library", |peer: &Peer| peer.name.into())
            .column("a refresh, ms", "ms", |peer| (&peer.time).into())
            .column("server CPU, µs", "cpu_us", |peer| (&peer.cpu).into())
            .column("CPU to the extension's", "cpu_to_extension", |peer| {
                ratio(&peer.cpu, &peers[0].cpu)
            });
        self.section(
            "Libraries for Python, one connection, synchronous_commit off",
            "python",
            peers,
            &columns,
        );
    }

    /// Calls for users with several numbers of sessions.
    pub fn users(&mut self, users: &[User]) {
        let columns = Columns::default()
            .column("sessions of a user", "sessions", |user: &User| {
                user.sessions.into()
            })
            .column("rotate", "rotate_cpu_us", |user| (&user.rotate).into())
            .column(
                "list_sessions, a session",
                "list_cpu_us_per_session",
                |user| (&user.list).into(),
            )
            .column(
                "revoke_user_sessions, a session",
                "revoke_cpu_us_per_session",
                |user| (&user.revoke).into(),
            );
        let title = "Users with many sessions, server CPU in µs";
        self.section(title, "users", users, &columns);
    }

    /// Calls to families of several lengths.
    ///
    /// # Errors
    /// A picture can't be written.
    pub fn families(&mut self, families: &[Family]) -> Done {
        let columns = Columns::default()
            .column("tokens in the family", "family", |family: &Family| {
                family.length.into()
            })
            .column("rotate", "rotate_cpu_us", |family| (&family.rotate).into())
            .column("retry", "retry_cpu_us", |family| (&family.retry).into())
            .column("revoke", "revoke_cpu_us", |family| (&family.revoke).into());
        let title = "Families of several lengths, server CPU in µs";
        self.section(title, "families", families, &columns);
        let mut bars = Vec::new();
        for family in families {
            let bar = |call, cpu| Bar::of(&format!("{call}, {}", family.length), cpu);
            bars.push(bar("rotate", &family.rotate));
            bars.push(bar("retry", &family.retry));
            bars.push(bar("revoke", &family.revoke));
        }
        let title = "Server CPU per call, microseconds";
        self.chart("families", title, "by length of the family", &bars)
    }

    /// Rotations in tables of several sizes.
    ///
    /// # Errors
    /// A picture can't be written.
    pub fn scale(&mut self, scales: &[Scale]) -> Done {
        if scales.is_empty() {
            return Ok(());
        }
        let columns = Columns::default()
            .column("contender", "contender", |scale: &Scale| {
                scale.contender.name().into()
            })
            .column("tokens", "rows", |scale| scale.rows.into())
            .printed("size, MB", |scale| (scale.bytes >> 20).into())
            .kept("bytes", |scale| scale.bytes.into())
            .column("refreshes per second", "refreshes_per_second", |scale| {
                (&scale.rate).into()
            })
            .column("server CPU, µs", "cpu_us", |scale| (&scale.cpu).into())
            .column("rate to the first", "rate_to_first", |scale| {
                let mut others = scales.iter();
                let first = others.find(|other| other.contender == scale.contender);
                ratio(&scale.rate, &first.unwrap_or(scale).rate)
            });
        let title = "Tables of several sizes, one connection, synchronous_commit off";
        self.section(title, "scale", scales, &columns);
        let bar = |scale: &Scale| {
            let label = format!("{}, {}", scale.contender.name(), scale.rows);
            Bar::of(&label, &scale.cpu)
        };
        let bars: Vec<_> = scales.iter().map(bar).collect();
        let title = "Server CPU per rotation, microseconds";
        self.chart(
            "scale",
            title,
            "by contender and tokens in the table",
            &bars,
        )
    }
}

fn ratio(ours: &[f64], theirs: &[f64]) -> Cell {
    Median::of_ratios(ours.iter().copied(), theirs.iter().copied()).into()
}
