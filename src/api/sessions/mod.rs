//! Sessions: listed, checked, ended.

mod end;
mod is_live;
mod list;
mod mine;

pub(super) use end::end_session;
pub(super) use is_live::is_good;

pgrx::extension_sql_file!(
    "../../../sql/sessions.sql",
    name = "sessions",
    requires = [
        revoke_session,
        revoke_user_sessions,
        is_session_live,
        plan_is_session_live,
        list_sessions,
        list_my_sessions,
        revoke_my_session,
        revoke_my_other_sessions,
    ]
);
