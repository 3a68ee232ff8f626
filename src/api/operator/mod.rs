//! What those who run the database call: purge, figures, the picture of a family, the doctor.

mod batches;
mod doctor;
mod draw_family;
mod kept;
mod purge;
mod revoke_batch;
mod stats;

pgrx::extension_sql_file!(
    "../../../sql/operator.sql",
    name = "operator",
    requires = [
        "tokens",
        begin_batches,
        draw_token_family,
        purge_refresh_tokens,
        read_unpurgeable_sessions,
        revoke_session_batch,
        revoke_orphan_batch,
        read_refresh_token_stats,
        read_refresh_token_answers,
        reset_refresh_token_stats,
    ]
);

pgrx::extension_sql_file!(
    "../../../sql/doctor.sql",
    name = "doctor",
    requires = ["operator", check_refresh_token_setting]
);
