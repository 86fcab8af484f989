//! Mails: the outbox, its budgets, and delivery.

mod kill;
mod outbox;
mod server;
mod smtp;

use futures_util::FutureExt;
use tripgate::db::StoreError;
use tripgate::mail::{Languages, MailKind, NewMail, Queued, Values};

use crate::harness::TestApp;

/// Returns a mail with a code and a link.
fn mail(to: &str, kind: MailKind) -> NewMail {
    let values = Values {
        code: Some("12345678".to_owned()),
        link: Some("/account/confirm#token".to_owned()),
        valid_minutes: Some(15),
        ..Values::default()
    };
    NewMail { to: to.to_owned(), user: None, kind, languages: Languages::default(), values }
}

/// Queues a mail in a separate transaction.
async fn queue(app: &TestApp, mail: NewMail) -> Queued {
    queue_each(app, vec![mail]).await.unwrap()[0]
}

/// Queues mails in one transaction.
async fn queue_each(app: &TestApp, mails: Vec<NewMail>) -> Result<Vec<Queued>, StoreError> {
    let services = app.services();
    let input = (services.mail.clone(), mails);
    let queue = services.db.write(input, |tx, (outbox, mails)| {
        async move {
            let mut queued = Vec::new();
            for mail in mails {
                queued.push(outbox.queue(tx, mail.clone()).await?);
            }
            Ok(queued)
        }
        .boxed()
    });
    queue.await
}
