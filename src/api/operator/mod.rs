//! What those who run the database call: purge, figures, the picture of a family, the doctor.

mod doctor;
mod draw_family;
mod purge;
mod stats;

pgrx::extension_sql_file!(
    "../../../sql/operator.sql",
    name = "operator",
    requires = [
        "tokens",
        draw_token_family,
        purge_refresh_tokens,
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
