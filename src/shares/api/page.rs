//! A shared trip as an HTML page, for a person who opens a share link in a browser.

use askama::Template;
use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};
use serde::Deserialize;

use crate::trips::Trip;
use crate::web::page::{Layout, render};
use crate::web::problem::Problem;

/// The values of the page.
#[derive(Template)]
#[template(path = "shared_trip.html")]
struct TripPage {
    layout: Layout,
    title: String,
    dates: Option<String>,
    destination: Option<String>,
    status: String,
    time_zone: Option<String>,
    notes: Option<String>,
    stops: Vec<StopView>,
}

/// A stop on the page.
struct StopView {
    name: String,
    times: Vec<TimeView>,
    time_zone: Option<String>,
    notes: Option<String>,
}

/// An arrival or a departure.
struct TimeView {
    label: &'static str,
    /// The time in machine-readable form, such as `2027-04-02T09:30`.
    machine: String,
    text: String,
}

/// The fields of a stored stop that the page shows.
#[derive(Deserialize)]
struct StoredStop {
    name: String,
    #[serde(default)]
    arrives_at: Option<NaiveDateTime>,
    #[serde(default)]
    departs_at: Option<NaiveDateTime>,
    /// The time zone of the stop. If absent, the time zone of the trip applies.
    #[serde(default)]
    time_zone: Option<String>,
    #[serde(default)]
    notes: Option<String>,
}

impl TripPage {
    /// Returns the dates and the destination, for a preview of the link.
    fn summary(&self) -> Option<String> {
        let parts: Vec<&str> =
            [&self.dates, &self.destination].into_iter().flatten().map(String::as_str).collect();
        (!parts.is_empty()).then(|| parts.join(" · "))
    }
}

impl StopView {
    fn new(stop: StoredStop, trip_zone: Option<&str>) -> Self {
        let time = |label, at: NaiveDateTime| TimeView {
            label,
            machine: at.format("%Y-%m-%dT%H:%M").to_string(),
            text: time_text(at),
        };
        let arrival = stop.arrives_at.map(|at| time("Arrival", at));
        let departure = stop.departs_at.map(|at| time("Departure", at));
        Self {
            name: stop.name,
            times: arrival.into_iter().chain(departure).collect(),
            time_zone: stop.time_zone.as_deref().or(trip_zone).map(zone_text),
            notes: stop.notes,
        }
    }
}

/// Renders the page of a trip whose share link has this path.
///
/// # Errors
///
/// An internal error if the stored stops are invalid.
pub(super) fn page(trip: Trip, path: &str) -> Result<String, Problem> {
    let fields = trip.fields.into_inner();
    let stops: Vec<StoredStop> = serde_json::from_str(fields.stops.as_json()).map_err(Problem::internal)?;
    let zone = fields.time_zone.as_deref();
    Ok(render(&TripPage {
        layout: Layout::at(path),
        dates: dates_text(fields.start_date, fields.end_date),
        status: capitalized(fields.status.name()),
        stops: stops.into_iter().map(|stop| StopView::new(stop, zone)).collect(),
        time_zone: zone.map(zone_text),
        title: fields.title,
        destination: fields.destination,
        notes: fields.notes,
    }))
}

/// Returns the dates of a trip as text, without repeating a common month or year.
fn dates_text(start: Option<NaiveDate>, end: Option<NaiveDate>) -> Option<String> {
    let full = |date: NaiveDate| date.format("%-d %B %Y").to_string();
    Some(match (start, end) {
        (None, None) => return None,
        (Some(start), None) => format!("from {}", full(start)),
        (None, Some(end)) => format!("until {}", full(end)),
        (Some(start), Some(end)) if start == end => full(end),
        (Some(start), Some(end)) => {
            let first = match (start.year() == end.year(), start.month() == end.month()) {
                (true, true) => start.format("%-d").to_string(),
                (true, false) => start.format("%-d %B").to_string(),
                (false, _) => full(start),
            };
            format!("{first} – {}", full(end))
        }
    })
}

/// Returns a local time as text, with seconds only if they are not 0.
fn time_text(at: NaiveDateTime) -> String {
    let format = if at.second() == 0 { "%a %-d %b %Y, %H:%M" } else { "%a %-d %b %Y, %H:%M:%S" };
    at.format(format).to_string()
}

/// Returns the name of a time zone as text: `America/New_York` becomes `America/New York`.
fn zone_text(name: &str) -> String {
    name.replace('_', " ")
}

fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_or_year_that_both_dates_share_is_written_once() {
        let date = |text: &str| text.parse::<NaiveDate>().ok();
        for (start, end, expected) in [
            ("2027-04-02", "2027-04-09", "2 – 9 April 2027"),
            ("2027-04-30", "2027-05-03", "30 April – 3 May 2027"),
            ("2027-04-02", "2028-04-09", "2 April 2027 – 9 April 2028"),
            ("2027-04-02", "2027-04-02", "2 April 2027"),
            ("2027-04-02", "", "from 2 April 2027"),
            ("", "2027-04-09", "until 9 April 2027"),
        ] {
            assert_eq!(dates_text(date(start), date(end)).as_deref(), Some(expected));
        }
        assert_eq!(dates_text(None, None), None);
    }

    #[test]
    fn a_stop_without_a_time_zone_uses_the_zone_of_the_trip() {
        let stop = |zone: &str| {
            let text = format!(r#"{{"id":"x","name":"JFK","arrives_at":"2027-04-02T09:30:05"{zone}}}"#);
            StopView::new(serde_json::from_str(&text).unwrap(), Some("Europe/Lisbon"))
        };
        assert_eq!(stop("").time_zone.as_deref(), Some("Europe/Lisbon"));
        let own = stop(r#","time_zone":"America/New_York""#);
        assert_eq!(own.time_zone.as_deref(), Some("America/New York"));
        assert_eq!(own.times[0].text, "Fri 2 Apr 2027, 09:30:05");
    }
}
