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
    (1, Proven(&["tests/it/signup.rs::an_email_address_alone_and_a_username_alone_are_enough"])),
    (2, Proven(&["tests/it/verify.rs::basic_credentials_are_verified_and_nothing_is_kept"])),
    (3, Proven(&[
        "tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer",
        "tests/it/verify.rs::malformed_basic_credentials_get_the_challenge_again",
    ])),
    (4, Proven(&["tests/it/originals/trips.rs::making_and_listing_trips_asks_for_a_login"])),
    (5, Proven(&["tests/it/originals/trips.rs::a_trip_belongs_to_whoever_made_it_and_each_lists_their_own"])),
    (6, Proven(&["tests/it/originals/trips.rs::making_and_listing_trips_asks_for_a_login"])),
    (7, Proven(&["tests/it/originals/trips.rs::a_trip_belongs_to_whoever_made_it_and_each_lists_their_own"])),
    (8, Proven(&["tests/it/verify.rs::malformed_basic_credentials_get_the_challenge_again"])),
    (9, Proven(&[
        "tests/it/signup.rs::an_email_address_alone_and_a_username_alone_are_enough",
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
        "tests/it/tokens/lifetime.rs::a_token_is_good_on_every_replica_and_after_a_restart",
        "tests/it/ways_in/tokens.rs::a_password_buys_a_token_by_basic_and_no_session_is_kept",
    ])),
    (19, Proven(&[
        "tests/it/ways_in/basic.rs::a_password_opens_every_call_and_begins_no_session",
        "tests/it/ways_in/basic.rs::a_token_stands_for_the_password_as_the_user_name_with_an_empty_password",
    ])),
    (20, Proven(&[
        "tests/it/ways_in/basic.rs::basic_is_no_way_in_unless_it_is_switched_on",
        "tests/it/tokens/presented.rs::a_token_in_the_query_or_a_cookie_or_the_body_is_ignored",
    ])),
    (21, Proven(&[
        "tests/it/ways_in/basic.rs::a_password_opens_every_call_and_begins_no_session",
        "tests/it/ways_in/basic.rs::a_token_stands_for_the_password_as_the_user_name_with_an_empty_password",
    ])),
    (22, Proven(&[
        "tests/it/verify.rs::malformed_basic_credentials_get_the_challenge_again",
        "tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer",
        "tests/it/ways_in/basic.rs::whatever_is_missing_or_wrong_is_told_with_both_challenges",
    ])),
    (23, Proven(&[
        "tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer",
        "tests/it/ways_in/tokens.rs::nobody_gets_a_token_for_nothing_or_for_a_wrong_password",
    ])),
    (24, Proven(&[
        "tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer",
        "tests/it/ways_in/tokens.rs::nobody_gets_a_token_for_nothing_or_for_a_wrong_password",
    ])),
    (25, Proven(&[
        "tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer",
        "tests/it/ways_in/tokens.rs::nobody_gets_a_token_for_nothing_or_for_a_wrong_password",
    ])),
    (26, Proven(&[
        "tests/it/profile.rs::the_account_is_that_of_the_token",
        "tests/it/ways_in/basic.rs::the_server_tells_a_token_from_a_password",
    ])),
    (27, Proven(&["tests/it/ways_in/tokens.rs::a_password_buys_a_token_by_basic_and_no_session_is_kept"])),
    (28, Proven(&["tests/it/ways_in/tokens.rs::a_password_buys_a_token_by_basic_and_no_session_is_kept"])),
    (29, Proven(&[
        "tests/it/ways_in/tokens.rs::a_password_buys_a_token_by_basic_and_no_session_is_kept",
        "tests/it/ways_in/tokens.rs::a_bought_token_ends_and_the_password_buys_another",
    ])),
    (30, Proven(&["tests/it/ways_in/basic.rs::a_token_stands_for_the_password_as_the_user_name_with_an_empty_password"])),
    (31, Proven(&[
        "tests/it/tokens/algorithms.rs::no_single_character_of_a_token_can_be_changed",
        "tests/it/tokens/lifetime.rs::a_token_is_good_for_its_life_and_30_seconds_and_no_longer",
    ])),
    (32, Proven(&["tests/it/clients.rs::of_a_deleted_account_no_token_is_good"])),
    (33, Proven(&["tests/it/ways_in/tokens.rs::a_token_never_buys_a_token"])),
    (34, Proven(&["tests/it/ways_in/tokens.rs::nobody_gets_a_token_for_nothing_or_for_a_wrong_password"])),
    (35, Proven(&[
        "tests/it/tokens/lifetime.rs::a_token_says_what_rfc_9068_asks_and_nothing_personal",
        "tests/it/tokens/lifetime.rs::under_another_secret_tokens_stay_good_and_none_are_made",
    ])),
    (36, Proven(&["tests/it/ways_in/basic.rs::the_server_tells_a_token_from_a_password"])),
    (37, Proven(&[
        "tests/it/tokens/lifetime.rs::a_token_is_good_for_its_life_and_30_seconds_and_no_longer",
        "tests/it/ways_in/tokens.rs::a_bought_token_ends_and_the_password_buys_another",
    ])),
    (38, Proven(&["tests/it/authz.rs::without_a_token_there_is_a_bare_challenge"])),
    (39, Later(MAIL)),
    (40, Proven(&["tests/it/authz.rs::a_token_that_lacks_the_scope_is_told_which"])),
    (41, Later(MAIL)),
    (42, Proven(&["tests/it/tokens/lifetime.rs::the_life_of_a_token_is_a_setting"])),
    (43, Later("pages for a browser come with the links in mails; the API needs none")),
    (44, Proven(&["tests/it/first_steps.rs::somebody_who_signs_up_makes_a_trip_and_finds_it_in_the_list"])),
    // Basic, Digest, OTP and JWT demos.
    (45, Proven(&["tests/it/authz.rs::without_a_token_there_is_a_bare_challenge"])),
    (46, Proven(&[
        "tests/it/authz.rs::without_a_token_there_is_a_bare_challenge",
        "tests/it/verify.rs::malformed_basic_credentials_get_the_challenge_again",
        "tests/it/ways_in/basic.rs::whatever_is_missing_or_wrong_is_told_with_both_challenges",
    ])),
    (47, Proven(&["tests/it/verify.rs::basic_credentials_split_at_the_first_colon"])),
    (48, Proven(&["tests/it/login.rs::the_database_holds_a_salted_hash_of_the_configured_cost"])),
    (49, Proven(&["tests/it/authz.rs::a_token_that_lacks_the_scope_is_told_which"])),
    (50, Proven(&["tests/it/signup.rs::signing_up_gives_a_session_and_says_where_the_account_is"])),
    (51, Later(TOTP)),
    (52, Later(TOTP)),
    (53, Proven(&["tests/it/verify.rs::basic_credentials_are_verified_and_nothing_is_kept"])),
    (54, Proven(&["tests/it/verify.rs::malformed_basic_credentials_get_the_challenge_again"])),
    (55, Later("Digest needs device passwords, for a bcrypt hash can't answer it")),
    (56, Proven(&["tests/it/login.rs::logging_in_gives_a_session_by_either_identifier_whatever_its_case"])),
    (57, Proven(&["tests/it/ways_in/tokens.rs::a_password_buys_a_token_by_basic_and_no_session_is_kept"])),
    (58, Proven(&["tests/it/tokens/lifetime.rs::a_token_is_good_for_its_life_and_30_seconds_and_no_longer"])),
    (59, Proven(&["tests/it/ways_in/query.rs::a_token_in_the_query_opens_every_call_where_it_is_switched_on"])),
    (60, Proven(&[
        "tests/it/authz.rs::without_a_token_there_is_a_bare_challenge",
        "tests/it/ways_in/query.rs::a_bad_token_in_the_query_is_invalid_and_none_is_missing",
    ])),
    (61, Proven(&[
        "tests/it/authz.rs::a_bad_token_is_an_invalid_token_whatever_else_is_sent",
        "tests/it/ways_in/query.rs::a_bad_token_in_the_query_is_invalid_and_none_is_missing",
    ])),
    (62, Proven(&[
        "tests/it/tokens/algorithms.rs::what_the_forge_makes_unchanged_is_taken",
        "tests/it/ways_in/query.rs::a_token_in_the_query_opens_every_call_where_it_is_switched_on",
    ])),
    (63, Proven(&[
        "tests/it/tokens/lifetime.rs::the_life_of_a_token_is_a_setting",
        "tests/it/ways_in/query.rs::a_token_in_the_query_is_good_for_its_life_and_no_longer",
    ])),
    (64, Proven(&["tests/it/tokens/lifetime.rs::a_token_says_what_rfc_9068_asks_and_nothing_personal"])),
    (65, Later(SHARING)),
    (66, Proven(&[
        "tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer",
        "tests/it/login.rs::members_that_login_does_not_have_are_refused",
        "tests/it/ways_in/tokens.rs::nobody_gets_a_token_for_nothing_or_for_a_wrong_password",
    ])),
    (67, Proven(&["tests/it/authz.rs::without_a_token_there_is_a_bare_challenge"])),
    // Movie bag.
    (68, Proven(&["tests/it/signup.rs::signing_up_gives_a_session_and_says_where_the_account_is"])),
    (69, Proven(&[
        "tests/it/signup.rs::an_email_address_must_be_one",
        "tests/it/signup.rs::one_of_email_and_username_is_required",
    ])),
    (70, Proven(&["tests/it/signup.rs::an_identifier_is_taken_whatever_its_case_on_every_replica"])),
    (71, Proven(&["tests/it/signup.rs::a_password_below_the_least_length_is_refused_and_one_at_it_is_taken"])),
    (72, Proven(&["tests/it/login.rs::the_database_holds_a_salted_hash_of_the_configured_cost"])),
    (73, Proven(&["tests/it/login.rs::logging_in_gives_a_session_by_either_identifier_whatever_its_case"])),
    (74, Proven(&["tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer"])),
    (75, Proven(&["tests/it/login.rs::a_wrong_password_and_an_unknown_user_get_the_same_answer"])),
    (76, Proven(&["tests/it/tokens/lifetime.rs::a_token_says_what_rfc_9068_asks_and_nothing_personal"])),
    (77, Proven(&["tests/it/tokens/lifetime.rs::the_life_of_a_token_is_a_setting"])),
    (78, Proven(&["src/config/tests.rs::every_layer_beats_the_ones_before"])),
    (79, Proven(&["src/config/tests.rs::a_named_file_must_exist_and_takes_the_place_of_the_usual_one"])),
    (80, Proven(&["src/secrets.rs::a_short_secret_is_refused"])),
    (81, Later(SHARING)),
    (82, Proven(&["tests/it/originals/trips.rs::making_and_listing_trips_asks_for_a_login"])),
    (83, Proven(&[
        "tests/it/originals/trips.rs::making_and_listing_trips_asks_for_a_login",
        "tests/it/tokens/lifetime.rs::a_token_is_good_for_its_life_and_30_seconds_and_no_longer",
    ])),
    (84, Proven(&["tests/it/tokens/presented.rs::a_credential_of_another_kind_is_none"])),
    (85, Proven(&["tests/it/originals/trips.rs::a_trip_belongs_to_whoever_made_it_and_each_lists_their_own"])),
    (86, Proven(&["tests/it/originals/trips.rs::a_trip_belongs_to_whoever_made_it_and_each_lists_their_own"])),
    (87, Proven(&["tests/it/originals/trips.rs::the_owner_comes_from_the_token_and_never_from_the_body"])),
    (88, Proven(&["tests/it/originals/trips.rs::the_owner_edits_and_deletes_and_the_list_follows"])),
    (89, Proven(&["tests/it/originals/trips.rs::the_owner_edits_and_deletes_and_the_list_follows"])),
    (90, Proven(&["tests/it/originals/trips.rs::nobody_else_edits_or_deletes_it"])),
    (91, Proven(&["tests/it/originals/trips.rs::nobody_else_edits_or_deletes_it"])),
    (92, Proven(&["tests/it/originals/trips.rs::nobody_else_edits_or_deletes_it"])),
    (93, Proven(&["tests/it/originals/trips.rs::a_trip_belongs_to_whoever_made_it_and_each_lists_their_own"])),
    (94, Proven(&["tests/it/originals/trips.rs::the_owner_edits_and_deletes_and_the_list_follows"])),
    (95, Later(DELETION)),
    (96, Proven(&["tests/it/signup.rs::all_faults_are_told_at_once_and_nothing_is_echoed"])),
    (97, Later(SHARING)),
];
