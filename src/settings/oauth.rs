//! The settings of the OAuth endpoints.

use super::string;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use refresh_tokens_core::oauth::access_token::AccessTokenSettings;
use refresh_tokens_core::oauth::signing::MAX_LIFETIME_SECONDS;
use refresh_tokens_core::time::Micros;
use std::ffi::CString;

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

/// Declares them to PostgreSQL.
pub fn register() {
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
        c"How many proxies in front of PostgREST append to X-Forwarded-For. 0: the header is not believed.",
        c"",
        &TRUSTED_PROXIES,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// What access tokens are made by.
pub fn access_token_settings() -> AccessTokenSettings {
    AccessTokenSettings {
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

/// A setting that is not empty.
fn text(setting: &GucSetting<Option<CString>>) -> Option<String> {
    let text = setting.get()?.into_string().ok()?;
    (!text.is_empty()).then_some(text)
}
