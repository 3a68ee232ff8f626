//! The settings `refresh_tokens.*`: declared, and read once into a [`Policy`].
//!
//! All are for superusers to set (and for whom these grant it to): a caller must not widen its own
//! window. They can be set per database and per role, and 0 switches a limit off.

mod oauth;
mod server;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::{PostgresGucEnum, pg_sys};
use refresh_tokens_core::sessions::{Limit, Policy, Retention, ReuseAction, Window};
use refresh_tokens_core::time::Micros;
use refresh_tokens_core::verdict::Recorded;
use std::ffi::{CStr, CString, c_int};
use std::time::Duration;

pub use oauth::{
    access_token_hook, access_token_settings, client_authentication_hook, trusted_proxies,
};
pub use server::{of_server, to_seconds};

static ROTATION: GucSetting<bool> = GucSetting::<bool>::new(true);
static REUSE_INTERVAL: GucSetting<i32> = default(Limit::ReuseInterval);
static LOST_RESPONSE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(0);
static REUSE_ACTION: GucSetting<ReuseActionSetting> =
    GucSetting::<ReuseActionSetting>::new(ReuseActionSetting::RevokeSession);
static IDLE_TIMEOUT: GucSetting<i32> = default(Limit::IdleTimeout);
static SESSION_LIFETIME: GucSetting<i32> = default(Limit::SessionLifetime);
static MAX_SESSIONS_PER_USER: GucSetting<i32> = GucSetting::<i32>::new(0);
static RETENTION: GucSetting<i32> = default(Limit::Retention);
static EVENT_RETENTION: GucSetting<i32> = default(Limit::EventRetention);

static FAST_PATH: GucSetting<bool> = GucSetting::<bool>::new(true);

/// A setting whose default is in the table of limits.
const fn default(limit: Limit) -> GucSetting<i32> {
    GucSetting::<i32>::new(server::default(limit))
}

/// The values of `refresh_tokens.reuse_action`.
#[derive(Clone, Copy, Debug, PostgresGucEnum)]
enum ReuseActionSetting {
    #[name = c"revoke_session"]
    RevokeSession,
    #[name = c"reject"]
    Reject,
}

static PURGE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(0);
static PURGE_DATABASES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static EVENTS: GucSetting<EventsSetting> =
    GucSetting::<EventsSetting>::new(EventsSetting::Security);
static DURABLE_REUSE: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Which of the two is declared depends on the server: see [`notify_setting`].
static NOTIFY: GucSetting<bool> = GucSetting::<bool>::new(true);
static NOTIFY_IF_ASKED: GucSetting<bool> = GucSetting::<bool>::new(false);
static CLAIMS_SETTING: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"request.jwt.claims"));

/// The values of `refresh_tokens.events`.
#[derive(Clone, Copy, Debug, PostgresGucEnum)]
enum EventsSetting {
    #[name = c"none"]
    None,
    #[name = c"security"]
    Security,
    #[name = c"all"]
    All,
}

/// Declares the settings to PostgreSQL; called once, when the library is loaded.
pub fn register() {
    GucRegistry::define_bool_guc(
        c"refresh_tokens.rotation",
        c"Rotates a refresh token when it is used.",
        c"Off: sender-constrained clients keep one token (FAPI 2.0).",
        &ROTATION,
        GucContext::Suset,
        GucFlags::default(),
    );
    seconds(
        c"refresh_tokens.reuse_interval",
        c"How long after its rotation a token may be retried concurrently. 0: not at all.",
        &REUSE_INTERVAL,
        0,
    );
    seconds(
        c"refresh_tokens.lost_response_interval",
        c"How long after its rotation the parent of the live token may be retried. 0: not at all; -1: for ever.",
        &LOST_RESPONSE_INTERVAL,
        -1,
    );
    GucRegistry::define_enum_guc(
        c"refresh_tokens.reuse_action",
        c"What the reuse of a rotated token does.",
        c"revoke_session: the family is revoked and the session ended. reject: nothing is revoked.",
        &REUSE_ACTION,
        GucContext::Suset,
        GucFlags::default(),
    );
    seconds(
        c"refresh_tokens.idle_timeout",
        c"How long a session lives without being refreshed. 0: for ever.",
        &IDLE_TIMEOUT,
        0,
    );
    seconds(
        c"refresh_tokens.session_lifetime",
        c"How long a session lives, however often it is refreshed. 0: for ever.",
        &SESSION_LIFETIME,
        0,
    );
    GucRegistry::define_int_guc(
        c"refresh_tokens.max_sessions_per_user",
        c"How many live sessions a user may have for each tag. 0: any number.",
        c"Issuing over the cap ends the sessions refreshed longest ago.",
        &MAX_SESSIONS_PER_USER,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::default(),
    );
    seconds(
        c"refresh_tokens.retention",
        c"How long revoked tokens and ended sessions are kept before purge takes them. 0: for ever.",
        &RETENTION,
        0,
    );
    seconds(
        c"refresh_tokens.event_retention",
        c"How long events are kept before purge takes them. 0: for ever.",
        &EVENT_RETENTION,
        0,
    );
    GucRegistry::define_int_guc(
        c"refresh_tokens.purge_interval",
        c"How often the background worker purges. 0: it does not.",
        c"The library must be in shared_preload_libraries.",
        &PURGE_INTERVAL,
        0,
        i32::MAX / 1000,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    string(
        c"refresh_tokens.purge_databases",
        c"The databases that the background worker purges, separated by commas.",
        c"",
        &PURGE_DATABASES,
        GucContext::Sighup,
    );
    GucRegistry::define_enum_guc(
        c"refresh_tokens.events",
        c"Which events are recorded in auth.refresh_token_events.",
        c"none; security: reuse, revocations, evictions and mismatches of the client; all: also issued, rotated, retried.",
        &EVENTS,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"refresh_tokens.notify",
        c"Sends events of the security set with NOTIFY.",
        c"A transaction that has sent something can't be prepared: off by default where max_prepared_transactions is above 0.",
        notify_setting(),
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"refresh_tokens.durable_reuse",
        c"Ends a family whose token was reused also where the transaction that detected it is rolled back.",
        c"It takes a background worker for some milliseconds.",
        &DURABLE_REUSE,
        GucContext::Suset,
        GucFlags::default(),
    );
    string(
        c"refresh_tokens.claims_setting",
        c"The setting in which a gateway hands on the claims of a verified access token, as JSON.",
        c"What auth.my_sessions and its functions take for the user: the claim sub.",
        &CLAIMS_SETTING,
        GucContext::Suset,
    );
    GucRegistry::define_bool_guc(
        c"refresh_tokens.fast_path",
        c"Rotates a live token without SQL statements where nothing defined on the tables needs them.",
        c"Off: always by statements. The rows are the same.",
        &FAST_PATH,
        GucContext::Suset,
        GucFlags::default(),
    );
    oauth::register();
    // SAFETY: the name is a literal that ends in NUL. From here on a setting with this prefix that
    // isn't declared above is a mistake, and PostgreSQL says so.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"refresh_tokens".as_ptr()) };
}

fn string(
    name: &'static CStr,
    about: &'static CStr,
    more: &'static CStr,
    setting: &'static GucSetting<Option<CString>>,
    context: GucContext,
) {
    GucRegistry::define_string_guc(name, about, more, setting, context, GucFlags::default());
}

fn seconds(name: &'static CStr, about: &'static CStr, setting: &'static GucSetting<i32>, min: i32) {
    let flags = GucFlags::UNIT_S;
    GucRegistry::define_int_guc(
        name,
        about,
        c"",
        setting,
        min,
        i32::MAX,
        GucContext::Suset,
        flags,
    );
}

/// Why a setting that is stored for a role or a database is not in force.
pub enum Fault {
    /// There is no setting of this name.
    Unknown,
    /// The setting has no such value.
    Invalid,
    /// Only postgresql.conf can set it.
    FileOnly,
}

/// What is wrong with `value` as the value of the setting `name`. Changes nothing.
pub fn fault(name: &str, value: &str) -> Option<Fault> {
    let (Ok(name), Ok(value)) = (CString::new(name), CString::new(value)) else {
        return Some(Fault::Unknown);
    };
    if !is_declared(&name) {
        Some(Fault::Unknown)
    } else if is_valid(&name, &value, pg_sys::GucContext::PGC_SUSET) {
        None
    } else if is_valid(&name, &value, pg_sys::GucContext::PGC_SIGHUP) {
        Some(Fault::FileOnly)
    } else {
        Some(Fault::Invalid)
    }
}

/// Whether a setting of ours has this name.
fn is_declared(name: &CStr) -> bool {
    let mut declared = std::ptr::null();
    // SAFETY: the name ends in NUL; what is set is the server's own name of the setting, or NULL where there is none.
    unsafe { pg_sys::GetConfigOptionByName(name.as_ptr(), &raw mut declared, true) };
    name.to_bytes().starts_with(b"refresh_tokens.") && !declared.is_null()
}

/// Whether `context` could set `name`, which is declared, to `value`.
fn is_valid(name: &CStr, value: &CStr, context: pg_sys::GucContext::Type) -> bool {
    // SAFETY: both strings end in NUL and are only looked at. The server tells of a mistake at this level, and answers 0.
    let result = unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            context,
            pg_sys::GucSource::PGC_S_TEST,
            pg_sys::GucAction::GUC_ACTION_SET,
            false,
            pg_sys::DEBUG5 as c_int,
            false,
        )
    };
    result != 0
}

/// The settings in force.
pub fn policy() -> Policy {
    Policy {
        rotation: ROTATION.get(),
        reuse_interval: Window::of(REUSE_INTERVAL.get()),
        lost_response_interval: Window::of(LOST_RESPONSE_INTERVAL.get()),
        reuse_action: match REUSE_ACTION.get() {
            ReuseActionSetting::RevokeSession => ReuseAction::RevokeSession,
            ReuseActionSetting::Reject => ReuseAction::Reject,
        },
        idle_timeout: Micros::limit(IDLE_TIMEOUT.get()),
        session_lifetime: Micros::limit(SESSION_LIFETIME.get()),
        max_sessions_per_user: Some(i64::from(MAX_SESSIONS_PER_USER.get())).filter(|&max| max > 0),
    }
}

/// How long evidence is kept, by the settings in force.
pub fn retention() -> Retention {
    Retention {
        evidence: Micros::limit(RETENTION.get()),
        events: Micros::limit(EVENT_RETENTION.get()),
    }
}

/// How long the background worker sleeps between two purges; none: for ever.
pub fn purge_interval() -> Option<Duration> {
    let seconds = u64::try_from(PURGE_INTERVAL.get()).unwrap_or(0);
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// The databases that the background worker purges.
pub fn purge_databases() -> Vec<String> {
    let list = PURGE_DATABASES.get().unwrap_or_default();
    let list = list.to_string_lossy();
    let names = list.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The setting in which a gateway hands on the claims of a verified access token.
pub fn claims_setting() -> Option<CString> {
    CLAIMS_SETTING.get()
}

/// Whether events of the security set are sent.
pub fn notify() -> bool {
    notify_setting().get()
}

/// `refresh_tokens.notify`. Where transactions may be prepared, each verdict and logout can be one's, by default.
fn notify_setting() -> &'static GucSetting<bool> {
    // SAFETY: the name ends in NUL, and the setting is the server's own. Its value is read at once; it is set when the
    // server starts, and never after.
    let prepared = unsafe {
        let value = pg_sys::GetConfigOption(c"max_prepared_transactions".as_ptr(), false, false);
        CStr::from_ptr(value) != c"0"
    };
    if prepared { &NOTIFY_IF_ASKED } else { &NOTIFY }
}

/// Whether a reuse ends its family whatever becomes of the transaction.
pub fn durable_reuse() -> bool {
    DURABLE_REUSE.get()
}

/// Whether a live token is rotated without statements where it can be.
pub fn fast_path() -> bool {
    FAST_PATH.get()
}

/// Which events are recorded.
pub fn recorded() -> Recorded {
    match EVENTS.get() {
        EventsSetting::None => Recorded::Nothing,
        EventsSetting::Security => Recorded::Security,
        EventsSetting::All => Recorded::All,
    }
}
