//! Runs the scenario of `generate_and_use.py` with the client that progenitor generates from the OpenAPI document.

use std::error::Error;
use std::{env, io};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tripgate_client::types::{
    CreateTrip, LogIn, Problem, RefreshRequest, ReplaceTrip, SignUp, TokenGrant, TripSort, UpdateTrip,
};
use tripgate_client::{Client, Error as ApiError, ResponseValue};
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

const PASSWORD: &str = "a red kite over Lisbon";

/// Returns the problem of a response with the expected error status.
fn problem<T>(response: Result<ResponseValue<T>, ApiError<Problem>>, status: u16) -> Outcome<Problem> {
    match response {
        Err(ApiError::ErrorResponse(response)) if response.status() == status => Ok(response.into_inner()),
        Err(other) => Err(other.into()),
        Ok(response) => {
            Err(io::Error::other(format!("status {}, expected {status}", response.status())).into())
        }
    }
}

fn signed_in(url: &str, token: &str) -> Outcome<Client> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?);
    let client = reqwest::Client::builder().default_headers(headers).build()?;
    Ok(Client::new_with_client(url, client))
}

/// Signs up, logs in, refreshes once and returns the second grant.
async fn log_in(client: &Client) -> Outcome<TokenGrant> {
    let account = SignUp::builder().username(Some("rust".parse()?)).password(PASSWORD);
    assert_eq!(client.sign_up().body(account).send().await?.status(), 201);
    let device = Some("A phone".parse()?);
    let login = LogIn::builder().identifier("rust").password(PASSWORD).device_name(device);
    let grant = client.log_in().body(login).send().await?.into_inner();
    assert_eq!(grant.user.username.as_deref(), Some("rust"));
    let refresh = RefreshRequest::builder().refresh_token(&grant.refresh_token);
    let refreshed = client.refresh_session().body(refresh).send().await?.into_inner();
    assert_ne!(refreshed.refresh_token, grant.refresh_token);
    Ok(refreshed)
}

async fn page_through(client: &Client) -> Outcome<()> {
    for title in ["Lisbon", "Sintra", "Porto", "Madeira", "Faro"] {
        assert_eq!(client.create_trip().body(CreateTrip::builder().title(title)).send().await?.status(), 201);
    }
    let mut pages = Vec::new();
    let mut cursor = None;
    loop {
        let mut request = client.list_trips().limit(2).sort(TripSort::Title);
        if let Some(cursor) = cursor {
            request = request.cursor(cursor);
        }
        let page = request.send().await?.into_inner();
        pages.push(page.items.into_iter().map(|trip| trip.title).collect::<Vec<_>>());
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec!["Faro", "Lisbon"], vec!["Madeira", "Porto"], vec!["Sintra"]]);
    Ok(())
}

async fn conflict(client: &Client) -> Outcome<()> {
    let key = Uuid::new_v4().to_string();
    let once = || {
        let body = CreateTrip::builder().title("Évora");
        client.create_trip().idempotency_key(key.as_str()).body(body).send()
    };
    let created = once().await?.into_inner();
    let again = once().await?;
    assert_eq!(again.headers().get("idempotency-replayed"), Some(&HeaderValue::from_static("true")));
    assert_eq!(again.into_inner().id, created.id);

    let trip = client.get_trip().id(created.id).send().await?;
    let tag = trip.headers().get("etag").ok_or("no ETag")?.to_str()?;
    let replace = |body| client.replace_trip().id(created.id).body(body);
    let notes = Some("By train".parse()?);
    let by_train = || ReplaceTrip::builder().title("Beja").notes(notes.clone());
    let replaced = replace(by_train()).if_match(tag).send().await?.into_inner();
    assert_eq!(replaced.version, 2);
    let stale = problem(replace(by_train()).if_match(tag).send().await, 412)?;
    assert_eq!(stale.code, "precondition_failed");
    let change = UpdateTrip::builder().title(Some("Tomar".parse()?));
    let old = problem(client.update_trip().id(created.id).if_match(tag).body(change).send().await, 412)?;
    assert_eq!(old.status, 412);
    // An `Option` can't distinguish `null` from an absent field, so replace the trip to clear a field.
    let cleared = replace(ReplaceTrip::builder().title("Beja")).if_match("*").send().await?.into_inner();
    assert_eq!((cleared.title.as_str(), cleared.notes, cleared.version), ("Beja", None, 3));

    let (first, last) = (Some("2027-05-08".parse()?), Some("2027-05-01".parse()?));
    let dates = UpdateTrip::builder().start_date(first).end_date(last);
    let invalid = problem(client.update_trip().id(created.id).body(dates).send().await, 422)?;
    let errors: Vec<_> =
        invalid.errors.iter().map(|error| (error.pointer.as_str(), error.code.as_str())).collect();
    assert_eq!(errors, [("/end_date", "before_start")]);
    assert_eq!(invalid.client_action, "fix_input");
    Ok(())
}

async fn use_invalid_token(invalid: &Client) -> Outcome<()> {
    let unknown = problem(invalid.list_trips().send().await, 401)?;
    assert_eq!((unknown.code.as_str(), unknown.client_action.as_str()), ("invalid_token", "refresh"));
    Ok(())
}

async fn end_session(client: &Client, grant: &TokenGrant) -> Outcome<()> {
    let last = || RefreshRequest::builder().refresh_token(&grant.refresh_token);
    assert_eq!(client.log_out().body(last()).send().await?.status(), 204);
    let ended = problem(client.refresh_session().body(last()).send().await, 401)?;
    assert_eq!((ended.code.as_str(), ended.client_action.as_str()), ("session_revoked", "reauthenticate"));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let url = env::args().nth(1).ok_or("the server's address is missing")?;
    let client = Client::new(&url);
    let grant = log_in(&client).await?;
    let own = signed_in(&url, &grant.access_token)?;
    page_through(&own).await?;
    conflict(&own).await?;
    use_invalid_token(&signed_in(&url, "bad")?).await?;
    end_session(&client, &grant).await?;
    println!("done");
    Ok(())
}
