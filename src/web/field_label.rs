//! The names of fields in sentences for people: `start_date` is "Start date".

/// The fields whose name in a sentence differs from the words of the field name.
const LABELS: [(&str, &str); 9] = [
    ("q", "Search text"),
    ("op", "Operation"),
    ("op_id", "Operation ID"),
    ("email", "Email address"),
    ("identifier", "Email address or username"),
    ("arrives_at", "Arrival time"),
    ("departs_at", "Departure time"),
    ("starts_from", "Earliest start date"),
    ("starts_until", "Latest start date"),
];

/// Returns the name of the field at a JSON pointer, as the beginning of a sentence.
pub fn field_label(pointer: &str) -> String {
    let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
    if name.is_empty() {
        return "The request body".to_owned();
    }
    if let Ok(index) = name.parse::<usize>() {
        return format!("Entry {} of {}", index + 1, lower_first(&field_label(parent)));
    }
    // The name of a header is not changed.
    if name.contains('-') {
        return name.to_owned();
    }
    if let Some((_, label)) = LABELS.iter().find(|(known, _)| *known == name) {
        return (*label).to_owned();
    }
    let words = name.split('_').enumerate().map(|(place, word)| match word {
        "id" => "ID".to_owned(),
        "ids" => "IDs".to_owned(),
        word if place == 0 => upper_first(word),
        word => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn upper_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_json_pointer_has_a_label_in_words() {
        for (pointer, label) in [
            ("/start_date", "Start date"),
            ("/trip/title", "Title"),
            ("/stops/0/arrives_at", "Arrival time"),
            ("/stop_ids/2", "Entry 3 of stop IDs"),
            ("/operations/0/op_id", "Operation ID"),
            ("/id", "ID"),
            ("/Idempotency-Key", "Idempotency-Key"),
            ("", "The request body"),
        ] {
            assert_eq!(field_label(pointer), label, "{pointer}");
        }
    }
}
