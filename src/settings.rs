//! The settings `refresh_tokens.*`: declared, and read once into a [`Policy`].
//!
//! All are for superusers to set (and for whom these grant it to): a caller must not widen its own
//! window. They can be set per database and per role, and 0 switches a limit off.

use crate::access_token::AccessPolicy;
use crate::claims::Claims;
use crate::event::Recorded;
use crate::headers::Headers;
use crate::oauth::Answer;
use crate::policy::{Policy, ReuseAction, Window};
use crate::retention::Retention;
use crate::signing::MAX_LIFETIME_SECONDS;
use crate::time::Micros;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::{PostgresGucEnum, pg_sys};
use serde_json::Value;
use std::ffi::{CStr, CString};
use std::time::Duration;

const DAY: i32 = 86_400;

static ROTATION: GucSetting<bool> = GucSetting::<bool>::new(true);
static REUSE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(10);
static LOST_RESPONSE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(0);
static REUSE_ACTION: GucSetting<ReuseActionSetting> =
    GucSetting::<ReuseActionSetting>::new(ReuseActionSetting::RevokeSession);
static IDLE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(15 * DAY);
static SESSION_LIFETIME: GucSetting<i32> = GucSetting::<i32>::new(30 * DAY);
static MAX_SESSIONS_PER_USER: GucSetting<i32> = GucSetting::<i32>::new(0);
static RETENTION: GucSetting<i32> = GucSetting::<i32>::new(30 * DAY);
static EVENT_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(90 * DAY);

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
static CLAIMS_SETTING: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"request.jwt.claims"));

static ACCESS_TOKEN_ISSUER: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static ACCESS_TOKEN_AUDIENCE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(None);
static ACCESS_TOKEN_ROLE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"authenticated"));
static ACCESS_TOKEN_LIFETIME: GucSetting<i32> = GucSetting::<i32>::new(3600);
static ACCESS_TOKEN_HOOK: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static CLIENT_AUTHENTICATION_HOOK: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(None);
static TRUSTED_PROXIES: GucSetting<i32> = GucSetting::<i32>::new(0);

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
        c"Swaps a refresh token for its child when it is used.",
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
        c"none; security: reuse, revocations, evictions and mismatches of the client; all: also issued, rotated, replayed.",
        &EVENTS,
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
    register_endpoints();
    // SAFETY: the name is a literal that ends in NUL. From here on a setting with this prefix that
    // isn't declared above is a mistake, and PostgreSQL says so.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"refresh_tokens".as_ptr()) };
}

/// The settings of the OAuth endpoints.
fn register_endpoints() {
    string(
        c"refresh_tokens.access_token_issuer",
        c"The claim iss of access tokens. Empty: it is left out.",
        c"",
        &ACCESS_TOKEN_ISSUER,
        GucContext::Suset,
    );
    string(
        c"refresh_tokens.access_token_audience",
        c"The claim aud of access tokens. Empty: it is left out.",
        c"",
        &ACCESS_TOKEN_AUDIENCE,
        GucContext::Suset,
    );
    string(
        c"refresh_tokens.access_token_role",
        c"The claim role of access tokens, which PostgREST takes on. Empty: it is left out.",
        c"",
        &ACCESS_TOKEN_ROLE,
        GucContext::Suset,
    );
    GucRegistry::define_int_guc(
        c"refresh_tokens.access_token_lifetime",
        c"How long an access token is good, within its session.",
        c"",
        &ACCESS_TOKEN_LIFETIME,
        1,
        MAX_LIFETIME_SECONDS,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    string(
        c"refresh_tokens.access_token_hook",
        c"The function (jsonb) -> jsonb that adds or replaces claims of access tokens. Empty: none.",
        c"With its schema. It runs with the rights of its owner.",
        &ACCESS_TOKEN_HOOK,
        GucContext::Suset,
    );
    string(
        c"refresh_tokens.client_authentication_hook",
        c"The function (client_id text, client_secret text) -> boolean that authenticates clients. Empty: none.",
        c"With its schema. It runs with the rights of its owner.",
        &CLIENT_AUTHENTICATION_HOOK,
        GucContext::Suset,
    );
    GucRegistry::define_int_guc(
        c"refresh_tokens.trusted_proxies",
        c"How many proxies in front of the gateway append to X-Forwarded-For. 0: the header is not believed.",
        c"",
        &TRUSTED_PROXIES,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::default(),
    );
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

/// The settings in force.
pub fn policy() -> Policy {
    Policy {
        rotation: ROTATION.get(),
        reuse_interval: window(REUSE_INTERVAL.get()),
        lost_response_interval: window(LOST_RESPONSE_INTERVAL.get()),
        reuse_action: match REUSE_ACTION.get() {
            ReuseActionSetting::RevokeSession => ReuseAction::RevokeSession,
            ReuseActionSetting::Reject => ReuseAction::Reject,
        },
        idle_timeout: limit(IDLE_TIMEOUT.get()),
        session_lifetime: limit(SESSION_LIFETIME.get()),
        max_sessions_per_user: Some(i64::from(MAX_SESSIONS_PER_USER.get())).filter(|&max| max > 0),
    }
}

/// How long evidence is kept, by the settings in force.
pub fn retention() -> Retention {
    Retention {
        evidence: limit(RETENTION.get()),
        events: limit(EVENT_RETENTION.get()),
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

/// Which events are recorded.
pub fn recorded() -> Recorded {
    match EVENTS.get() {
        EventsSetting::None => Recorded::Nothing,
        EventsSetting::Security => Recorded::Security,
        EventsSetting::All => Recorded::All,
    }
}

/// The claims of the caller's access token; none if there are none, or they name no user.
pub fn claims() -> Option<Claims> {
    Claims::parse(&option(&CLAIMS_SETTING.get()?)?)
}

/// The headers of the HTTP request that this call serves, as PostgREST hands them on.
pub fn request_headers() -> Headers {
    option(c"request.headers").map_or_else(Headers::default, |json| Headers::parse(&json))
}

/// What access tokens are made by.
pub fn access_policy() -> AccessPolicy {
    AccessPolicy {
        issuer: text(&ACCESS_TOKEN_ISSUER),
        audience: text(&ACCESS_TOKEN_AUDIENCE),
        role: text(&ACCESS_TOKEN_ROLE),
        lifetime: Micros::from_seconds(ACCESS_TOKEN_LIFETIME.get()),
    }
}

/// The function that adds claims, by its name.
pub fn access_token_hook() -> Option<String> {
    text(&ACCESS_TOKEN_HOOK)
}

/// The function that authenticates clients, by its name.
pub fn client_authentication_hook() -> Option<String> {
    text(&CLIENT_AUTHENTICATION_HOOK)
}

/// How many entries of `X-Forwarded-For` were written by proxies that are to be believed.
pub fn trusted_proxies() -> usize {
    usize::try_from(TRUSTED_PROXIES.get()).unwrap_or(0)
}

/// Gives PostgREST the status and the headers of an answer, for as long as the transaction lasts. Headers
/// that the application has set stay.
pub fn respond(answer: &Answer) {
    let mut headers: Vec<Value> = option(c"response.headers")
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default();
    headers.extend(answer.headers());
    set_local(c"response.headers", &Value::from(headers).to_string());
    if let Some(status) = answer.status {
        set_local(c"response.status", &status.to_string());
    }
}

/// Sets a setting till the end of the transaction.
fn set_local(name: &CStr, value: &str) {
    let value = CString::new(value).expect("JSON and numbers have no NUL");
    // SAFETY: both end in NUL, and the value is copied. Anybody may set these.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}

/// A setting that is not empty.
fn text(setting: &GucSetting<Option<CString>>) -> Option<String> {
    let text = setting.get()?.into_string().ok()?;
    (!text.is_empty()).then_some(text)
}

/// The value of any setting, by its name; none if there is no such setting.
fn option(name: &CStr) -> Option<String> {
    // SAFETY: the name ends in NUL; a setting that does not exist is NULL, and the value is copied
    // before anything can change it.
    let value = unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        (!value.is_null()).then(|| CStr::from_ptr(value).to_owned())
    };
    value?.into_string().ok()
}

fn window(seconds: i32) -> Window {
    match seconds {
        0 => Window::Closed,
        ..0 => Window::Open,
        length => Window::For(Micros::from_seconds(length)),
    }
}

fn limit(seconds: i32) -> Option<Micros> {
    (seconds > 0).then(|| Micros::from_seconds(seconds))
}
