//! Importing the users of another system.

use std::fs;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tripgate::accounts::USERNAME_RULE;

use super::{OLD_PASSWORD, run_with_input, settle};
use crate::harness::process::{command, stderr, stdout};
use crate::harness::{TestApp, email, rows};

const HEADER: &str = "email,username,display_name,password_hash,email_verified,created_at";

fn import(app: &TestApp, name: &str, content: impl AsRef<[u8]>, args: &[&str]) -> Output {
    let path = app.settings().data_dir.join(name);
    fs::write(&path, content).unwrap();
    let args = [&["users", "import", path.to_str().unwrap(), "--json"], args].concat();
    run_with_input(app, &args, b"")
}

/// Imports a file; the import must succeed. Returns the numbers of imported and of existing users.
async fn imported(app: &TestApp, name: &str, content: impl AsRef<[u8]>) -> (u64, u64) {
    let output = import(app, name, content, &[]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    settle(app).await;
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    (report["imported"].as_u64().unwrap(), report["existing"].as_u64().unwrap())
}

/// Imports a file that must be refused, and returns the faults as `line: column message`. `column` is the
/// name of a column, and is missing if the fault concerns the whole line.
fn faults(app: &TestApp, name: &str, content: impl AsRef<[u8]>) -> Vec<String> {
    let output = import(app, name, content, &[]);
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    assert!(stderr(&output).contains("0 users were imported"), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let text = |fault: &Value| {
        let column = fault["column"].as_str().map(|column| format!("{column} ")).unwrap_or_default();
        format!("{}: {column}{}", fault["line"], fault["message"].as_str().unwrap())
    };
    report["faults"].as_array().unwrap().iter().map(text).collect()
}

/// Returns a server with one account, and the hash of its password.
async fn start() -> (TestApp, String) {
    let app = TestApp::start_now().await;
    app.sign_up("zoe").await;
    let hash = rows::password_hash(&app, "zoe").await;
    (app, hash)
}

#[tokio::test]
async fn imported_users_log_in_with_their_old_passwords_which_are_then_rehashed() {
    // S-96, S-9
    let (app, hash) = start().await;
    let hash = |prefix: &str| hash.replacen("$2b$", prefix, 1);
    let csv = format!(
        "\u{feff}created_at,email,username,display_name,password_hash,email_verified\r\n\
         2019-05-06T07:08:09+02:00,Ada@Example.org,ada,\"Lovelace, \"\"Ada\"\"\",{},true\r\n\
         ,,Grace12,,{},\r\n\r\n,linus@example.org,,,,f\r\n",
        hash("$2a$"),
        hash("$2y$")
    );
    assert_eq!(imported(&app, "users.csv", &csv).await, (3, 0));
    let jsonl = format!(
        "{}\r\n{}\n",
        json!({ "username": "ken", "password_hash": hash("$2b$"), "display_name": null, "email_verified": false }),
        json!({ "email": "dennis@example.org", "email_verified": true, "password_hash": hash("$2y$") }),
    );
    assert_eq!(imported(&app, "users.jsonl", &jsonl).await, (2, 0));
    for name in ["ADA", "ada@example.ORG", "grace12", "ken", "dennis@example.org"] {
        assert!(app.can_log_in(name, OLD_PASSWORD).await, "{name}");
    }
    assert!(!app.can_log_in("linus@example.org", "!").await, "an account without a password");
    for name in ["ada", "Grace12", "ken"] {
        assert!(rows::password_hash(&app, name).await.starts_with("$2b$04$"), "{name}");
    }
    let ada = app.log_in("ada").await.get("/api/v1/me").await.expect(200).json();
    assert_eq!((&ada["email"], &ada["email_verified"]), (&json!("Ada@Example.org"), &json!(true)));
    assert_eq!(ada["display_name"], json!("Lovelace, \"Ada\""));
    assert_eq!(ada["created_at"], json!("2019-05-06T05:08:09.000Z"));
    let forgot =
        app.anonymous().post("/api/v1/auth/password/forgot").json(&json!({ "email": "linus@example.org" }));
    forgot.await.expect(202);
    assert!(app.mail_to("linus@example.org").await.link.is_some());
}

#[tokio::test]
async fn each_invalid_account_in_an_import_is_reported_by_line_and_nothing_is_imported() {
    // S-96
    let (app, hash) = start().await;
    let other = |cost: &str| hash.replacen("$04$", cost, 1);
    let rest = format!(",{hash},,");
    let lines = [
        HEADER.to_owned(),
        format!("ada@example.org,,{rest}"),
        format!("ADA@example.org,,{rest}"),
        format!("nobody,,{rest}"),
        format!(",a b,{rest}"),
        format!(",brian,,{},,", other("$31$")),
        format!(",brian,,{},,", hash.replacen("$2b$", "$2x$", 1)),
        format!(",brian,,{},,", &hash[..50]),
        ",brian,,pbkdf2_sha256$1$a$b,,".to_owned(),
        ",brian,,,,".to_owned(),
        format!(",,{rest}"),
        format!(",brian,,{hash},yes,"),
        format!(",brian,,{hash},true,"),
        format!(",brian,,{hash},,2019-05-06"),
        format!(",brian,,{hash},,2999-01-01T00:00:00Z"),
        format!(",brian,,{hash}"),
        format!(",br\0ian,,{hash},,"),
        format!(",{},,{hash},,", "x".repeat(1_000_000)),
        format!(",zoe-2,\"a\nb\",{hash},,"),
        format!("new@example.org,zoe,{rest}"),
        format!(",\"never closed,{rest}"),
    ];
    let found = faults(&app, "users.csv", lines.join("\n"));
    let invalid = [5, 17].map(|line| format!("{line}: username {USERNAME_RULE}"));
    let expected = [
        "3: email is the same as in line 2",
        "4: email is not a valid email address",
        &invalid[0],
        "6: password_hash must have a cost of 4 to 15",
        "7: password_hash must be a bcrypt hash that begins with $2a$, $2b$ or $2y$",
        "8: password_hash must have the 60 characters of a complete bcrypt hash",
        "9: password_hash must be a bcrypt hash that begins with $2a$, $2b$ or $2y$",
        "10: password_hash is required without an email address",
        "11: has neither an email address nor a username",
        "12: email_verified must be true or false",
        "13: email_verified is true without an email address",
        "14: created_at must be a time with its offset, such as 2026-03-02T08:30:00Z",
        "15: created_at is in the future",
        "16: has 4 fields, and the header has 6",
        &invalid[1],
        "18: is longer than 65536 bytes",
        "19: display_name must have 1 to 100 characters in one line",
        // A quoted field above contains a line break, so the line numbers are higher by one from here on.
        "22: has a quote that is never closed",
        "21: username belongs to another account",
    ];
    let (mut found, mut expected): (Vec<_>, Vec<_>) = (found, expected.map(str::to_owned).to_vec());
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(rows::users(&app).await.len(), 1);
}

#[tokio::test]
async fn each_malformed_line_of_an_import_file_is_reported_with_its_number() {
    // S-96
    let (app, hash) = start().await;
    assert_eq!(
        faults(&app, "a.csv", "email,password\nada@example.org,x\n"),
        [format!("1: has a column that is none of {}", HEADER.replace(',', ", "))]
    );
    assert_eq!(faults(&app, "b.csv", "email,email\n"), ["1: email occurs twice in the header"]);
    assert_eq!(faults(&app, "c.csv", b"email\n\xff@example.org\n"), ["2: is not valid UTF-8"]);
    let lines = [
        "[]".to_owned(),
        "{\"email\":1}".to_owned(),
        "{\"email\":\"a@example.org\",\"email\":\"b@example.org\"}".to_owned(),
        "{\"email\":\"a\\u0000@example.org\"}".to_owned(),
        "{\"email\":\"a@example.org\",\"email_verified\":\"true\"}".to_owned(),
        format!("{{\"username\":\"ada\",\"password_hash\":\"{hash}\",\"role\":\"admin\"}}"),
        "{".to_owned(),
    ];
    let found = faults(&app, "d.jsonl", lines.join("\n"));
    assert_eq!(
        found,
        [
            "1: is not a JSON object".to_owned(),
            "2: email must be a string".to_owned(),
            "3: has a duplicate field".to_owned(),
            "4: contains a NUL character".to_owned(),
            "5: email_verified must be true or false".to_owned(),
            format!("6: has a field that is none of {}", HEADER.replace(',', ", ")),
            "7: is not well-formed JSON (line 1, column 1)".to_owned(),
        ]
    );
    let unknown = import(&app, "users.txt", "", &[]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("--format csv or --format jsonl"), "{}", stderr(&unknown));
    let absent = run_with_input(&app, &["users", "import", "absent.csv"], b"");
    assert_eq!(absent.status.code(), Some(1));
    assert!(stderr(&absent).contains("failed to read absent.csv"), "{}", stderr(&absent));
    assert_eq!(rows::users(&app).await.len(), 1);
}

#[tokio::test]
async fn an_import_never_changes_an_existing_account() {
    // S-96
    let (app, hash) = start().await;
    let zoe = rows::users(&app).await;
    let foreign = "$2b$04$abcdefghijklmnopqrstuu5Lx3vUu2TtJbyXWCq1AuVZ5jOHX7Jjy".replace("Jjy", "Jju");
    let lines = [
        HEADER.to_owned(),
        format!("ZOE@example.org,another,Eve,{foreign},true,"),
        format!(",ZOE,Eve,{foreign},,"),
        format!("ada@example.org,ada,,{hash},,"),
    ];
    assert_eq!(imported(&app, "users.csv", lines.join("\n")).await, (1, 2));
    assert_eq!(imported(&app, "users.csv", lines.join("\n")).await, (0, 3));
    let after = rows::users(&app).await;
    assert_eq!(after.len(), 2);
    assert!(after.contains(&zoe[0]), "{after:?}");
    assert!(app.can_log_in("zoe", OLD_PASSWORD).await && app.can_log_in("ada", OLD_PASSWORD).await);
}

#[tokio::test]
async fn a_dry_run_of_an_import_reports_the_result_and_writes_nothing() {
    let (app, hash) = start().await;
    let content = format!("username,password_hash\nada,{hash}\nzoe,{hash}\n");
    let output = import(&app, "users", &content, &["--format", "csv", "--dry-run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        report,
        json!({ "dry_run": true, "imported": 1, "existing": 1, "faults": [], "more_faults": 0 })
    );
    assert_eq!(rows::users(&app).await.len(), 1);
    let path = app.settings().data_dir.join("users");
    let args = ["users", "import", path.to_str().unwrap(), "--format", "csv"];
    let done = run_with_input(&app, &args, b"");
    assert_eq!(stdout(&done), "1 users were imported, 1 exist already\n");
}

#[tokio::test]
async fn an_import_that_was_killed_can_be_repeated_without_creating_duplicates() {
    // S-96
    const COUNT: usize = 3_000;
    let (app, hash) = start().await;
    let line = |number: usize| format!("{},user{number},,{hash},true,", email(&format!("user{number}")));
    let lines: Vec<String> = (0..COUNT).map(line).collect();
    let content = format!("{HEADER}\n{}", lines.join("\n"));
    let path = app.settings().data_dir.join("users.csv");
    fs::write(&path, &content).unwrap();
    let mut first = command(&app.settings().data_dir, &["users", "import", path.to_str().unwrap()]);
    first
        .env("TRIPGATE_DATABASE_URL", app.settings().database_url.expose())
        .env("TRIPGATE_SECRET_FILE", &app.settings().secret_file);
    let mut child = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let since = Instant::now();
    while rows::users(&app).await.len() < 2 {
        assert!(since.elapsed() < Duration::from_secs(20), "nothing is imported");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let partly = rows::users(&app).await.len() - 1;
    let (new, existing) = imported(&app, "users.csv", &content).await;
    assert_eq!((new, existing), ((COUNT - partly) as u64, partly as u64));
    assert_eq!(rows::users(&app).await.len(), COUNT + 1);
}
