//! The numbered features of the four replaced systems, and the tests that prove them.

/// The status of a row.
pub(super) enum Row {
    /// Proven by these tests, each as a path from the repository root and a name.
    Proven(&'static [&'static str]),
    /// Postponed to a later version, for this reason.
    Later(&'static str),
}

use Row::{Later, Proven};

#[rustfmt::skip]
pub(super) const ROWS: &[(u16, Row)] = &[
    // The features of "Trip Planner".
    (1, Proven(&["tests/it/authentication/signup.rs::an_email_address_or_a_username_is_sufficient_to_sign_up"])),
    (2, Proven(&["tests/it/authentication/verify.rs::verifying_basic_credentials_creates_no_session"])),
    (3, Proven(&[
        "tests/it/authentication/login/mod.rs::a_wrong_password_and_an_unknown_user_get_the_same_response",
        "tests/it/authentication/verify.rs::malformed_basic_credentials_get_401_with_a_basic_challenge",
    ])),
    (4, Proven(&["tests/it/documents/parity/trips.rs::trips_require_authentication"])),
    (5, Proven(&["tests/it/documents/parity/trips.rs::a_trip_belongs_to_its_creator_and_lists_contain_only_own_trips"])),
    (6, Proven(&["tests/it/documents/parity/trips.rs::trips_require_authentication"])),
    (7, Proven(&["tests/it/documents/parity/trips.rs::a_trip_belongs_to_its_creator_and_lists_contain_only_own_trips"])),
    (8, Proven(&[
        "tests/it/authentication/verify.rs::verifying_basic_credentials_creates_no_session",
        "tests/it/authentication/verify.rs::malformed_basic_credentials_get_401_with_a_basic_challenge",
    ])),
    (9, Proven(&[
        "tests/it/authentication/signup.rs::an_email_address_or_a_username_is_sufficient_to_sign_up",
        "tests/it/authentication/login/mod.rs::a_login_with_a_damaged_password_hash_fails",
    ])),
    (10, Proven(&["tests/it/authentication/login/mod.rs::the_database_contains_a_salted_password_hash_with_the_configured_cost"])),
    (11, Proven(&["tests/it/authentication/login/mod.rs::the_database_contains_a_salted_password_hash_with_the_configured_cost"])),
    (12, Proven(&["src/config/tests.rs::settings_come_from_flags_then_the_environment_then_dot_env_then_the_file_then_defaults"])),
    (13, Proven(&["tests/it/authentication/login/mod.rs::the_database_contains_a_salted_password_hash_with_the_configured_cost"])),
    (14, Proven(&["tests/it/authentication/login/timing.rs::a_higher_bcrypt_cost_makes_a_login_of_an_unknown_user_take_longer"])),
    (15, Proven(&["tests/it/authentication/login/mod.rs::after_a_change_of_the_bcrypt_cost_a_successful_login_rehashes_the_password"])),
    (16, Proven(&["tests/it/documents/first_steps.rs::a_new_user_can_create_a_trip_and_list_it"])),
    (17, Later("the Swift client is generated and its syntax is checked, but it is neither compiled nor run")),
    // The features of "Basic-or-token API".
    (18, Proven(&[
        "tests/it/authentication/tokens/lifetime.rs::a_token_is_valid_on_every_replica_and_after_a_restart",
        "tests/it/authentication/methods/tokens.rs::basic_credentials_can_be_exchanged_for_a_token_without_a_session",
    ])),
    (19, Proven(&[
        "tests/it/authentication/methods/basic.rs::basic_authentication_works_for_every_operation_and_creates_no_session",
        "tests/it/authentication/methods/basic.rs::an_access_token_is_accepted_as_the_basic_user_name_with_an_empty_password",
    ])),
    (20, Proven(&[
        "tests/it/authentication/tokens/presented.rs::a_token_in_the_query_or_a_cookie_or_the_body_is_ignored",
        "tests/it/authentication/methods/tokens.rs::missing_or_wrong_credentials_get_no_token",
    ])),
    (21, Proven(&[
        "tests/it/authentication/methods/basic.rs::basic_authentication_works_for_every_operation_and_creates_no_session",
        "tests/it/authentication/methods/basic.rs::an_access_token_is_accepted_as_the_basic_user_name_with_an_empty_password",
    ])),
    (22, Proven(&[
        "tests/it/authentication/verify.rs::malformed_basic_credentials_get_401_with_a_basic_challenge",
        "tests/it/authentication/login/mod.rs::a_wrong_password_and_an_unknown_user_get_the_same_response",
        "tests/it/authentication/methods/basic.rs::missing_or_invalid_credentials_get_a_bearer_and_a_basic_challenge",
    ])),
    (23, Proven(&[
        "tests/it/authentication/login/mod.rs::a_wrong_password_and_an_unknown_user_get_the_same_response",
        "tests/it/authentication/methods/tokens.rs::missing_or_wrong_credentials_get_no_token",
    ])),
    (24, Proven(&[
        "tests/it/authentication/login/mod.rs::a_wrong_password_and_an_unknown_user_get_the_same_response",
        "tests/it/authentication/methods/tokens.rs::missing_or_wrong_credentials_get_no_token",
    ])),
    (25, Proven(&[
        "tests/it/authentication/login/mod.rs::a_wrong_password_and_an_unknown_user_get_the_same_response",
        "tests/it/authentication/methods/tokens.rs::missing_or_wrong_credentials_get_no_token",
    ])),
    (26, Proven(&[
        "tests/it/account/profile.rs::get_me_returns_the_account_that_the_token_belongs_to",
        "tests/it/authentication/methods/basic.rs::basic_credentials_with_a_password_have_no_session_and_those_with_a_token_have_the_session_of_the_token",
    ])),
    (27, Proven(&["tests/it/authentication/methods/tokens.rs::basic_credentials_can_be_exchanged_for_a_token_without_a_session"])),
    (28, Proven(&["tests/it/authentication/methods/tokens.rs::basic_credentials_can_be_exchanged_for_a_token_without_a_session"])),
    (29, Proven(&[
        "tests/it/authentication/methods/tokens.rs::basic_credentials_can_be_exchanged_for_a_token_without_a_session",
        "tests/it/authentication/methods/tokens.rs::a_sessionless_token_expires_and_can_be_requested_again_with_the_password",
    ])),
    (30, Proven(&["tests/it/authentication/methods/basic.rs::an_access_token_is_accepted_as_the_basic_user_name_with_an_empty_password"])),
    (31, Proven(&[
        "tests/it/authentication/tokens/algorithms.rs::changing_any_character_of_a_token_invalidates_it",
        "tests/it/authentication/tokens/lifetime.rs::an_access_token_is_valid_until_30_seconds_after_its_expiry",
    ])),
    (32, Proven(&["tests/it/authentication/clients.rs::every_token_of_a_deleted_account_is_invalid"])),
    (33, Proven(&["tests/it/authentication/methods/tokens.rs::no_access_or_refresh_token_can_be_exchanged_for_a_sessionless_token"])),
    (34, Proven(&["tests/it/authentication/methods/tokens.rs::missing_or_wrong_credentials_get_no_token"])),
    (35, Proven(&[
        "tests/it/authentication/tokens/lifetime.rs::an_access_token_has_the_rfc_9068_claims_and_no_personal_data",
        "tests/it/authentication/tokens/lifetime.rs::a_server_with_another_secret_accepts_existing_tokens_and_issues_none",
    ])),
    (36, Proven(&[
        "tests/it/authentication/methods/basic.rs::basic_credentials_with_a_password_have_no_session_and_those_with_a_token_have_the_session_of_the_token",
        "tests/it/authentication/methods/tokens.rs::a_sessionless_token_has_no_sid_and_its_amr_is_pwd",
    ])),
    (37, Proven(&[
        "tests/it/authentication/tokens/lifetime.rs::an_access_token_is_valid_until_30_seconds_after_its_expiry",
        "tests/it/authentication/methods/tokens.rs::a_sessionless_token_expires_and_can_be_requested_again_with_the_password",
    ])),
    (38, Proven(&[
        "tests/it/contract/authz.rs::the_test_table_lists_every_operation_once_with_its_required_credentials",
        "tests/it/contract/authz.rs::a_request_without_a_token_gets_a_challenge_without_an_error_code",
    ])),
    (39, Proven(&[
        "tests/it/recovery/signup_modes.rs::if_confirmation_is_required_an_unconfirmed_account_can_use_only_the_operations_under_auth_and_me",
        "tests/it/recovery/confirm.rs::the_sign_up_code_confirms_the_address_and_can_be_sent_again_for_10_minutes",
    ])),
    (40, Proven(&[
        "tests/it/recovery/signup_modes.rs::if_confirmation_is_required_an_unconfirmed_account_can_use_only_the_operations_under_auth_and_me",
        "tests/it/recovery/confirm.rs::the_sign_up_code_confirms_the_address_and_can_be_sent_again_for_10_minutes",
    ])),
    (41, Proven(&["tests/it/recovery/confirm.rs::the_sign_up_link_confirms_the_address_only_with_the_access_token_or_the_password"])),
    (42, Proven(&[
        "tests/it/authentication/tokens/lifetime.rs::an_access_token_is_valid_until_30_seconds_after_its_expiry",
        "tests/it/authentication/tokens/lifetime.rs::the_token_lifetime_is_configurable",
    ])),
    (43, Proven(&[
        "tests/it/documents/pages.rs::the_documentation_page_states_whether_every_operation_accepts_basic_authentication",
        "tests/it/documents/account_pages.rs::account_pages_load_nothing_from_other_hosts_and_contain_no_inline_code",
    ])),
    (44, Proven(&[
        "tests/it/documents/first_steps.rs::a_new_user_can_create_a_trip_and_list_it",
        "tests/it/contract/errors.rs::unknown_paths_and_malformed_ids_get_404",
    ])),
    // The features of the demos of Basic, Digest, OTP and JWT.
    (45, Proven(&["tests/it/contract/authz.rs::a_request_without_a_token_gets_a_challenge_without_an_error_code"])),
    (46, Proven(&[
        "tests/it/contract/authz.rs::a_request_without_a_token_gets_a_challenge_without_an_error_code",
        "tests/it/authentication/verify.rs::malformed_basic_credentials_get_401_with_a_basic_challenge",
        "tests/it/authentication/methods/basic.rs::missing_or_invalid_credentials_get_a_bearer_and_a_basic_challenge",
    ])),
    (47, Proven(&[
        "tests/it/authentication/verify.rs::basic_credentials_split_at_the_first_colon",
        "tests/it/authentication/verify.rs::malformed_basic_credentials_get_401_with_a_basic_challenge",
    ])),
    (48, Proven(&[
        "tests/it/authentication/login/mod.rs::the_database_contains_a_salted_password_hash_with_the_configured_cost",
        "tests/it/authentication/login/mod.rs::a_login_with_a_damaged_password_hash_fails",
    ])),
    (49, Proven(&["tests/it/contract/authz.rs::a_missing_scope_is_named_in_the_www_authenticate_header"])),
    (50, Proven(&[
        "tests/it/authentication/signup.rs::an_email_address_or_a_username_is_sufficient_to_sign_up",
        "tests/it/users/add.rs::an_operator_creates_accounts_even_when_sign_up_is_closed",
    ])),
    (51, Proven(&[
        "tests/it/authentication/second_factor/login.rs::a_password_login_with_a_second_factor_succeeds_only_after_a_code",
        "tests/it/authentication/second_factor/recovery_codes.rs::each_recovery_code_logs_in_once_without_the_app",
    ])),
    (52, Proven(&[
        "tests/it/authentication/second_factor/login.rs::an_authenticator_code_of_the_previous_current_or_next_time_step_works_once_even_after_a_clock_jump",
        "tests/it/authentication/second_factor/enrolment.rs::an_authenticator_app_takes_effect_only_after_its_confirmation",
    ])),
    (53, Proven(&["tests/it/authentication/verify.rs::verifying_basic_credentials_creates_no_session"])),
    (54, Proven(&[
        "tests/it/contract/authz.rs::operations_with_basic_authentication_accept_only_a_password",
        "tests/it/authentication/verify.rs::malformed_basic_credentials_get_401_with_a_basic_challenge",
    ])),
    (55, Proven(&[
        "tests/it/authentication/personal_tokens/digest.rs::a_digest_response_is_accepted_once_for_each_nonce_count",
        "tests/it/authentication/personal_tokens/digest.rs::a_digest_response_with_a_wrong_value_is_refused",
        "tests/it/authentication/personal_tokens/digest.rs::digest_is_offered_and_accepted_only_if_enabled_and_never_in_place_of_a_password",
    ])),
    (56, Proven(&["tests/it/authentication/login/mod.rs::a_login_accepts_email_address_and_username_ignoring_case_and_starts_a_session"])),
    (57, Proven(&["tests/it/authentication/methods/tokens.rs::basic_credentials_can_be_exchanged_for_a_token_without_a_session"])),
    (58, Proven(&["tests/it/authentication/tokens/lifetime.rs::an_access_token_is_valid_until_30_seconds_after_its_expiry"])),
    (59, Proven(&["tests/it/authentication/methods/query.rs::every_operation_accepts_a_token_in_the_query_if_query_tokens_are_enabled"])),
    (60, Proven(&[
        "tests/it/contract/authz.rs::a_request_without_a_token_gets_a_challenge_without_an_error_code",
        "tests/it/authentication/methods/query.rs::an_invalid_query_token_gets_another_error_than_a_missing_token",
    ])),
    (61, Proven(&[
        "tests/it/contract/authz.rs::an_invalid_token_gets_401_before_the_body_is_parsed",
        "tests/it/authentication/methods/query.rs::an_invalid_query_token_gets_another_error_than_a_missing_token",
    ])),
    (62, Proven(&[
        "tests/it/account/profile.rs::get_me_returns_the_account_that_the_token_belongs_to",
        "tests/it/authentication/methods/query.rs::every_operation_accepts_a_token_in_the_query_if_query_tokens_are_enabled",
    ])),
    (63, Proven(&[
        "tests/it/authentication/tokens/lifetime.rs::the_token_lifetime_is_configurable",
        "tests/it/authentication/methods/query.rs::an_expired_token_in_the_query_is_rejected",
    ])),
    (64, Proven(&[
        "tests/it/authentication/tokens/lifetime.rs::an_access_token_has_the_rfc_9068_claims_and_no_personal_data",
        "tests/it/authentication/keys/rotation.rs::a_server_that_starts_with_another_signing_algorithm_rotates_the_key",
    ])),
    (65, Proven(&["tests/it/documents/parity/trips.rs::anyone_with_a_link_can_read_a_shared_trip_but_only_the_owner_can_change_it"])),
    (66, Proven(&[
        "tests/it/authentication/login/mod.rs::a_wrong_password_and_an_unknown_user_get_the_same_response",
        "tests/it/authentication/login/mod.rs::login_rejects_unknown_and_missing_fields",
        "tests/it/authentication/methods/tokens.rs::missing_or_wrong_credentials_get_no_token",
    ])),
    (67, Proven(&[
        "tests/it/contract/authz.rs::the_test_table_lists_every_operation_once_with_its_required_credentials",
        "tests/it/contract/authz.rs::the_minimum_credentials_of_each_operation_are_sufficient",
    ])),
    // The features of "Movie bag".
    (68, Proven(&["tests/it/authentication/signup.rs::signing_up_returns_a_session_and_the_location_of_the_account"])),
    (69, Proven(&[
        "tests/it/authentication/identifiers.rs::an_invalid_email_address_is_rejected",
        "tests/it/authentication/signup.rs::a_sign_up_requires_an_email_address_or_a_username",
    ])),
    (70, Proven(&["tests/it/authentication/identifiers.rs::identifiers_are_unique_ignoring_case_on_every_replica"])),
    (71, Proven(&[
        "tests/it/authentication/signup.rs::a_password_below_the_minimum_length_is_rejected",
        "tests/it/authentication/signup.rs::the_minimum_password_length_is_configurable",
    ])),
    (72, Proven(&["tests/it/authentication/login/mod.rs::the_database_contains_a_salted_password_hash_with_the_configured_cost"])),
    (73, Proven(&["tests/it/authentication/login/mod.rs::a_login_accepts_email_address_and_username_ignoring_case_and_starts_a_session"])),
    (74, Proven(&["tests/it/authentication/login/mod.rs::a_wrong_password_and_an_unknown_user_get_the_same_response"])),
    (75, Proven(&["tests/it/authentication/login/mod.rs::a_wrong_password_and_an_unknown_user_get_the_same_response"])),
    (76, Proven(&["tests/it/authentication/tokens/lifetime.rs::an_access_token_has_the_rfc_9068_claims_and_no_personal_data"])),
    (77, Proven(&["tests/it/authentication/tokens/lifetime.rs::the_token_lifetime_is_configurable"])),
    (78, Proven(&["tests/it/documents/parity/secret.rs::the_secret_can_be_set_in_a_dot_env_file"])),
    (79, Proven(&["tests/it/documents/parity/secret.rs::an_environment_variable_can_set_the_path_of_the_secret"])),
    (80, Proven(&[
        "src/secrets/mod.rs::a_master_secret_that_is_too_short_is_rejected",
        "tests/it/operation/cli.rs::a_secret_that_is_too_short_prevents_the_start",
    ])),
    (81, Proven(&[
        "tests/it/documents/parity/trips.rs::anyone_with_a_link_can_read_a_shared_trip_but_only_the_owner_can_change_it",
        "tests/it/trips/shares.rs::a_share_link_shows_the_trip_without_owner_data",
    ])),
    (82, Proven(&["tests/it/documents/parity/trips.rs::trips_require_authentication"])),
    (83, Proven(&[
        "tests/it/documents/parity/trips.rs::trips_require_authentication",
        "tests/it/authentication/tokens/lifetime.rs::an_access_token_is_valid_until_30_seconds_after_its_expiry",
    ])),
    (84, Proven(&[
        "tests/it/authentication/verify.rs::the_name_of_the_authentication_scheme_is_case_insensitive",
        "tests/it/authentication/tokens/presented.rs::another_scheme_is_treated_as_a_missing_credential_and_a_malformed_bearer_token_as_invalid",
    ])),
    (85, Proven(&[
        "tests/it/documents/parity/trips.rs::a_trip_belongs_to_its_creator_and_lists_contain_only_own_trips",
        "tests/it/trips/rules.rs::each_field_of_a_new_trip_is_validated",
    ])),
    (86, Proven(&["tests/it/documents/parity/trips.rs::a_trip_belongs_to_its_creator_and_lists_contain_only_own_trips"])),
    (87, Proven(&["tests/it/documents/parity/trips.rs::the_owner_of_a_trip_comes_from_the_token_and_never_from_the_body"])),
    (88, Proven(&["tests/it/documents/parity/trips.rs::edits_and_deletions_by_the_owner_appear_in_the_list_of_trips"])),
    (89, Proven(&["tests/it/documents/parity/trips.rs::edits_and_deletions_by_the_owner_appear_in_the_list_of_trips"])),
    (90, Proven(&["tests/it/documents/parity/trips.rs::another_user_can_neither_edit_nor_delete_a_trip"])),
    (91, Proven(&["tests/it/documents/parity/trips.rs::another_user_can_neither_edit_nor_delete_a_trip"])),
    (92, Proven(&["tests/it/documents/parity/trips.rs::another_user_can_neither_edit_nor_delete_a_trip"])),
    (93, Proven(&["tests/it/documents/parity/trips.rs::a_trip_belongs_to_its_creator_and_lists_contain_only_own_trips"])),
    (94, Proven(&["tests/it/documents/parity/trips.rs::edits_and_deletions_by_the_owner_appear_in_the_list_of_trips"])),
    (95, Proven(&["tests/it/authentication/sessions/revocation.rs::deleting_an_account_with_the_password_deletes_all_its_data_and_ends_its_sessions_on_replicas"])),
    (96, Proven(&[
        "tests/it/authentication/signup.rs::all_errors_of_a_sign_up_are_reported_together_without_echoing_input",
        "tests/it/contract/problems.rs::every_problem_code_has_exactly_one_page",
    ])),
    (97, Proven(&[
        "tests/it/documents/parity/trips.rs::anyone_with_a_link_can_read_a_shared_trip_but_only_the_owner_can_change_it",
        "tests/it/trips/shares.rs::only_the_owner_can_create_or_revoke_a_share_link_and_links_are_unguessable",
    ])),
];
