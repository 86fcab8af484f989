//! Which test proves which row.

/// Where a row stands.
pub(super) enum Row {
    /// By these tests: the file from the root of the project, and the name.
    Proven(&'static [&'static str]),
    /// In a later version; why.
    Later(&'static str),
}

use Row::{Later, Proven};

const TOTP: &str = "TOTP and recovery codes are not there yet";
const SHARING: &str = "read-only links to shared trips are not there yet";
const MAIL: &str = "confirming an address by mail is not there yet";
const DELETION: &str = "DELETE /api/v1/me is not there yet";

#[rustfmt::skip]
pub(super) const ROWS: &[(u16, Row)] = &[
    // Trip Planner.
    (1, Proven(&["tests/it/signup.rs::an_email_address_or_a_username_is_sufficient"])),
    (2, Proven(&["tests/it/verify.rs::verifying_basic_credentials_stores_nothing"])),
    (3, Proven(&[
        "tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer",
        "tests/it/verify.rs::malformed_basic_credentials_get_the_challenge",
    ])),
    (4, Proven(&["tests/it/parity/trips.rs::making_and_listing_trips_asks_for_a_login"])),
    (5, Proven(&["tests/it/parity/trips.rs::a_trip_belongs_to_whoever_made_it_and_each_lists_their_own"])),
    (6, Proven(&["tests/it/parity/trips.rs::making_and_listing_trips_asks_for_a_login"])),
    (7, Proven(&["tests/it/parity/trips.rs::a_trip_belongs_to_whoever_made_it_and_each_lists_their_own"])),
    (8, Proven(&["tests/it/verify.rs::malformed_basic_credentials_get_the_challenge"])),
    (9, Proven(&[
        "tests/it/signup.rs::an_email_address_or_a_username_is_sufficient",
        "tests/it/login.rs::a_damaged_hash_is_a_failed_login",
    ])),
    (10, Proven(&["tests/it/login.rs::the_database_holds_a_salted_hash_of_the_configured_cost"])),
    (11, Proven(&["tests/it/login.rs::the_database_holds_a_salted_hash_of_the_configured_cost"])),
    (12, Proven(&["src/config/tests.rs::every_layer_beats_the_ones_before"])),
    (13, Proven(&["tests/it/login.rs::the_database_holds_a_salted_hash_of_the_configured_cost"])),
    (14, Proven(&["tests/it/login/timing.rs::a_higher_cost_takes_longer"])),
    (15, Proven(&["tests/it/login.rs::another_cost_hashes_again_at_the_next_login_alone"])),
    (16, Proven(&["tests/it/first_steps.rs::somebody_who_signs_up_makes_a_trip_and_finds_it_in_the_list"])),
    (17, Later("an iOS client is generated from the document and run against the server later")),
    // Basic-or-token API.
    (18, Proven(&[
        "tests/it/tokens/lifetime.rs::a_token_is_valid_on_every_replica_and_after_a_restart",
        "tests/it/auth_methods/tokens.rs::basic_credentials_get_a_token_without_a_session",
    ])),
    (19, Proven(&[
        "tests/it/auth_methods/basic.rs::basic_authenticates_every_operation_and_creates_no_session",
        "tests/it/auth_methods/basic.rs::a_token_is_accepted_as_the_basic_user_name_with_an_empty_password",
    ])),
    (20, Proven(&[
        "tests/it/auth_methods/basic.rs::basic_is_rejected_unless_enabled",
        "tests/it/tokens/presented.rs::a_token_in_the_query_or_a_cookie_or_the_body_is_ignored",
    ])),
    (21, Proven(&[
        "tests/it/auth_methods/basic.rs::basic_authenticates_every_operation_and_creates_no_session",
        "tests/it/auth_methods/basic.rs::a_token_is_accepted_as_the_basic_user_name_with_an_empty_password",
    ])),
    (22, Proven(&[
        "tests/it/verify.rs::malformed_basic_credentials_get_the_challenge",
        "tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer",
        "tests/it/auth_methods/basic.rs::missing_or_invalid_credentials_get_both_challenges",
    ])),
    (23, Proven(&[
        "tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer",
        "tests/it/auth_methods/tokens.rs::missing_or_wrong_credentials_get_no_token",
    ])),
    (24, Proven(&[
        "tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer",
        "tests/it/auth_methods/tokens.rs::missing_or_wrong_credentials_get_no_token",
    ])),
    (25, Proven(&[
        "tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer",
        "tests/it/auth_methods/tokens.rs::missing_or_wrong_credentials_get_no_token",
    ])),
    (26, Proven(&[
        "tests/it/profile.rs::me_returns_the_account_of_the_token",
        "tests/it/auth_methods/basic.rs::basic_distinguishes_tokens_from_passwords",
    ])),
    (27, Proven(&["tests/it/auth_methods/tokens.rs::basic_credentials_get_a_token_without_a_session"])),
    (28, Proven(&["tests/it/auth_methods/tokens.rs::basic_credentials_get_a_token_without_a_session"])),
    (29, Proven(&[
        "tests/it/auth_methods/tokens.rs::basic_credentials_get_a_token_without_a_session",
        "tests/it/auth_methods/tokens.rs::a_sessionless_token_expires_and_the_password_gets_another",
    ])),
    (30, Proven(&["tests/it/auth_methods/basic.rs::a_token_is_accepted_as_the_basic_user_name_with_an_empty_password"])),
    (31, Proven(&[
        "tests/it/tokens/algorithms.rs::changing_any_character_of_a_token_invalidates_it",
        "tests/it/tokens/lifetime.rs::a_token_is_valid_until_30_seconds_after_its_expiry",
    ])),
    (32, Proven(&["tests/it/clients.rs::of_a_deleted_account_no_token_is_good"])),
    (33, Proven(&["tests/it/auth_methods/tokens.rs::a_token_cannot_be_exchanged_for_another_token"])),
    (34, Proven(&["tests/it/auth_methods/tokens.rs::missing_or_wrong_credentials_get_no_token"])),
    (35, Proven(&[
        "tests/it/tokens/lifetime.rs::an_access_token_has_the_rfc_9068_claims_and_no_personal_data",
        "tests/it/tokens/lifetime.rs::under_another_secret_existing_tokens_are_valid_and_none_are_issued",
    ])),
    (36, Proven(&["tests/it/auth_methods/basic.rs::basic_distinguishes_tokens_from_passwords"])),
    (37, Proven(&[
        "tests/it/tokens/lifetime.rs::a_token_is_valid_until_30_seconds_after_its_expiry",
        "tests/it/auth_methods/tokens.rs::a_sessionless_token_expires_and_the_password_gets_another",
    ])),
    (38, Proven(&["tests/it/authz.rs::without_a_token_there_is_a_bare_challenge"])),
    (39, Later(MAIL)),
    (40, Proven(&["tests/it/authz.rs::a_token_that_lacks_the_scope_is_told_which"])),
    (41, Later(MAIL)),
    (42, Proven(&["tests/it/tokens/lifetime.rs::the_token_lifetime_is_configurable"])),
    (43, Later("pages for a browser come with the links in mails; the API needs none")),
    (44, Proven(&["tests/it/first_steps.rs::somebody_who_signs_up_makes_a_trip_and_finds_it_in_the_list"])),
    // Basic, Digest, OTP and JWT demos.
    (45, Proven(&["tests/it/authz.rs::without_a_token_there_is_a_bare_challenge"])),
    (46, Proven(&[
        "tests/it/authz.rs::without_a_token_there_is_a_bare_challenge",
        "tests/it/verify.rs::malformed_basic_credentials_get_the_challenge",
        "tests/it/auth_methods/basic.rs::missing_or_invalid_credentials_get_both_challenges",
    ])),
    (47, Proven(&["tests/it/verify.rs::basic_credentials_split_at_the_first_colon"])),
    (48, Proven(&["tests/it/login.rs::the_database_holds_a_salted_hash_of_the_configured_cost"])),
    (49, Proven(&["tests/it/authz.rs::a_token_that_lacks_the_scope_is_told_which"])),
    (50, Proven(&["tests/it/signup.rs::signing_up_returns_a_session_and_the_location_of_the_account"])),
    (51, Later(TOTP)),
    (52, Later(TOTP)),
    (53, Proven(&["tests/it/verify.rs::verifying_basic_credentials_stores_nothing"])),
    (54, Proven(&["tests/it/verify.rs::malformed_basic_credentials_get_the_challenge"])),
    (55, Later("Digest needs device passwords, for a bcrypt hash can't answer it")),
    (56, Proven(&["tests/it/login.rs::logging_in_gives_a_session_by_either_identifier_whatever_its_case"])),
    (57, Proven(&["tests/it/auth_methods/tokens.rs::basic_credentials_get_a_token_without_a_session"])),
    (58, Proven(&["tests/it/tokens/lifetime.rs::a_token_is_valid_until_30_seconds_after_its_expiry"])),
    (59, Proven(&["tests/it/auth_methods/query.rs::a_query_token_authenticates_every_operation_when_enabled"])),
    (60, Proven(&[
        "tests/it/authz.rs::without_a_token_there_is_a_bare_challenge",
        "tests/it/auth_methods/query.rs::an_invalid_query_token_is_distinguished_from_a_missing_one",
    ])),
    (61, Proven(&[
        "tests/it/authz.rs::a_bad_token_is_an_invalid_token_whatever_else_is_sent",
        "tests/it/auth_methods/query.rs::an_invalid_query_token_is_distinguished_from_a_missing_one",
    ])),
    (62, Proven(&[
        "tests/it/tokens/algorithms.rs::an_unmodified_forged_copy_is_accepted",
        "tests/it/auth_methods/query.rs::a_query_token_authenticates_every_operation_when_enabled",
    ])),
    (63, Proven(&[
        "tests/it/tokens/lifetime.rs::the_token_lifetime_is_configurable",
        "tests/it/auth_methods/query.rs::a_query_token_expires",
    ])),
    (64, Proven(&["tests/it/tokens/lifetime.rs::an_access_token_has_the_rfc_9068_claims_and_no_personal_data"])),
    (65, Later(SHARING)),
    (66, Proven(&[
        "tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer",
        "tests/it/login.rs::members_that_login_does_not_have_are_refused",
        "tests/it/auth_methods/tokens.rs::missing_or_wrong_credentials_get_no_token",
    ])),
    (67, Proven(&["tests/it/authz.rs::without_a_token_there_is_a_bare_challenge"])),
    // Movie bag.
    (68, Proven(&["tests/it/signup.rs::signing_up_returns_a_session_and_the_location_of_the_account"])),
    (69, Proven(&[
        "tests/it/signup.rs::an_invalid_email_address_is_rejected",
        "tests/it/signup.rs::one_of_email_and_username_is_required",
    ])),
    (70, Proven(&["tests/it/signup.rs::identifiers_are_unique_ignoring_case_on_every_replica"])),
    (71, Proven(&["tests/it/signup.rs::a_password_below_the_minimum_length_is_rejected"])),
    (72, Proven(&["tests/it/login.rs::the_database_holds_a_salted_hash_of_the_configured_cost"])),
    (73, Proven(&["tests/it/login.rs::logging_in_gives_a_session_by_either_identifier_whatever_its_case"])),
    (74, Proven(&["tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer"])),
    (75, Proven(&["tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer"])),
    (76, Proven(&["tests/it/tokens/lifetime.rs::an_access_token_has_the_rfc_9068_claims_and_no_personal_data"])),
    (77, Proven(&["tests/it/tokens/lifetime.rs::the_token_lifetime_is_configurable"])),
    (78, Proven(&["src/config/tests.rs::every_layer_beats_the_ones_before"])),
    (79, Proven(&["src/config/tests.rs::a_named_file_must_exist_and_takes_the_place_of_the_usual_one"])),
    (80, Proven(&["src/secrets/mod.rs::a_short_secret_is_refused"])),
    (81, Later(SHARING)),
    (82, Proven(&["tests/it/parity/trips.rs::making_and_listing_trips_asks_for_a_login"])),
    (83, Proven(&[
        "tests/it/parity/trips.rs::making_and_listing_trips_asks_for_a_login",
        "tests/it/tokens/lifetime.rs::a_token_is_valid_until_30_seconds_after_its_expiry",
    ])),
    (84, Proven(&["tests/it/tokens/presented.rs::another_authentication_scheme_counts_as_no_credential"])),
    (85, Proven(&["tests/it/parity/trips.rs::a_trip_belongs_to_whoever_made_it_and_each_lists_their_own"])),
    (86, Proven(&["tests/it/parity/trips.rs::a_trip_belongs_to_whoever_made_it_and_each_lists_their_own"])),
    (87, Proven(&["tests/it/parity/trips.rs::the_owner_comes_from_the_token_and_never_from_the_body"])),
    (88, Proven(&["tests/it/parity/trips.rs::the_owner_edits_and_deletes_and_the_list_follows"])),
    (89, Proven(&["tests/it/parity/trips.rs::the_owner_edits_and_deletes_and_the_list_follows"])),
    (90, Proven(&["tests/it/parity/trips.rs::nobody_else_edits_or_deletes_it"])),
    (91, Proven(&["tests/it/parity/trips.rs::nobody_else_edits_or_deletes_it"])),
    (92, Proven(&["tests/it/parity/trips.rs::nobody_else_edits_or_deletes_it"])),
    (93, Proven(&["tests/it/parity/trips.rs::a_trip_belongs_to_whoever_made_it_and_each_lists_their_own"])),
    (94, Proven(&["tests/it/parity/trips.rs::the_owner_edits_and_deletes_and_the_list_follows"])),
    (95, Later(DELETION)),
    (96, Proven(&["tests/it/signup.rs::all_errors_are_reported_together_without_echoing_input"])),
    (97, Later(SHARING)),
];
