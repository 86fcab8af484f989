//! The number of tries of a code, and how codes are stored and deleted.

use chrono::TimeDelta;
use serde_json::json;

use super::{ADA, FORGOT, LOGIN_BY_CODE, LOGIN_CODE, NEW_PASSWORD, RESET, mailed, post, wrong};
use crate::harness::rows;

#[tokio::test]
async fn five_wrong_codes_invalidate_the_code_and_the_link_of_an_email() {
    // S-46, S-79
    let app = super::start().await;
    app.sign_up("ada").await;
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    for _ in 0..5 {
        let body = json!({ "flow_id": mail.flow, "code": wrong(&mail.code), "new_password": NEW_PASSWORD });
        post(&app, RESET, body).await.expect(422).problem("invalid_code");
    }
    for body in [mail.with_code(json!({})), mail.with_token(json!({}))] {
        let body = super::merged(body, json!({ "new_password": NEW_PASSWORD }));
        post(&app, RESET, body).await.expect(422).problem("invalid_code");
    }
    assert!(!app.can_log_in(ADA, NEW_PASSWORD).await);
    // The correct code is accepted at the fifth try.
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    for _ in 0..4 {
        let body = json!({ "flow_id": mail.flow, "code": wrong(&mail.code), "new_password": NEW_PASSWORD });
        post(&app, RESET, body).await.expect(422).problem("invalid_code");
    }
    post(&app, RESET, mail.with_code(json!({ "new_password": NEW_PASSWORD }))).await.expect(204);
}

#[tokio::test]
async fn only_five_of_many_parallel_guesses_of_a_code_are_compared() {
    // S-79
    let app = super::start().await;
    app.sign_up("ada").await;
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    let body = json!({ "flow_id": mail.flow, "code": wrong(&mail.code), "new_password": NEW_PASSWORD });
    let guesses = (0..60).map(|_| async { post(&app, RESET, body.clone()).await.status });
    let statuses = futures_util::future::join_all(guesses).await;
    assert!(statuses.iter().all(|status| *status == 422), "{statuses:?}");
    // Each comparison of a wrong code increments the counter of failures.
    assert_eq!(rows::flow_failures(&app).await, [5]);
}

#[tokio::test]
async fn at_most_20_wrong_codes_a_day_are_compared_for_an_account_in_all_flows_together() {
    // S-79
    let app = super::start().await;
    app.sign_up("ada").await;
    app.sign_up("bob").await;
    let guess = async |path: &str, confirm: &str| {
        let mail = mailed(&app, &app.anonymous(), path, ADA).await;
        for _ in 0..5 {
            let mut body = json!({ "flow_id": mail.flow, "code": wrong(&mail.code) });
            if confirm == RESET {
                body = super::merged(body, json!({ "new_password": NEW_PASSWORD }));
            }
            post(&app, confirm, body).await.expect(422).problem("invalid_code");
        }
    };
    for _ in 0..2 {
        guess(FORGOT, RESET).await;
        guess(LOGIN_CODE, LOGIN_BY_CODE).await;
    }
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    let right = mail.with_code(json!({ "new_password": NEW_PASSWORD }));
    post(&app, RESET, right.clone()).await.expect(422).problem("invalid_code");
    // The codes of Bob's account are still valid. The link of Ada's account is valid too, because links can't
    // be guessed.
    let other = mailed(&app, &app.anonymous(), FORGOT, "bob@example.org").await;
    post(&app, RESET, other.with_code(json!({ "new_password": NEW_PASSWORD }))).await.expect(204);
    post(&app, RESET, mail.with_token(json!({ "new_password": NEW_PASSWORD }))).await.expect(204);
    app.clock.advance(TimeDelta::hours(24));
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    post(&app, RESET, mail.with_code(json!({ "new_password": NEW_PASSWORD }))).await.expect(204);
}

#[tokio::test]
async fn mailed_codes_and_tokens_are_not_stored_in_plain_text() {
    // S-65
    let app = super::start().await;
    app.sign_up("ada").await;
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    let stored = rows::flows(&app).await;
    assert_eq!(stored.len(), 2);
    for flow in stored {
        let text = format!("{flow:?}");
        assert!(!text.contains(&mail.code) && !text.contains(&mail.token), "{text}");
        assert!(flow.code_tag.len() == 32 && flow.subject.len() == 32);
    }
}

#[tokio::test]
async fn expired_flows_and_old_records_of_wrong_codes_are_deleted() {
    let app = super::start().await;
    app.sign_up("ada").await;
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    let body = json!({ "flow_id": mail.flow, "code": wrong(&mail.code), "new_password": NEW_PASSWORD });
    post(&app, RESET, body).await.expect(422);
    app.clock.advance(TimeDelta::minutes(80));
    app.services().flows.sweep(&app.services().db).await.unwrap();
    assert!(rows::flows(&app).await.is_empty());
    assert_eq!(rows::flow_failures(&app).await, [1]);
    app.clock.advance(TimeDelta::hours(24));
    app.services().flows.sweep(&app.services().db).await.unwrap();
    assert!(rows::flow_failures(&app).await.is_empty());
}
