//! Finds the differences between two OpenAPI documents that break clients of the old document.
//!
//! A client sends requests that the old document allowed, and relies on the responses that the old document
//! promised. A new document must therefore not require more of a request, and must not guarantee less about a
//! response. Names from which SDKs are generated (operations, schemas) must not change. Parts that can't be
//! compared are reported as breaking.

use std::collections::HashSet;

use chrono::NaiveDate;
use serde_json::{Map, Value, json};

/// Returns one line per breaking change from `old` to `new`; empty if there is none.
pub(super) fn breaking_changes(old: &Value, new: &Value, today: NaiveDate) -> Vec<String> {
    let (operation, compared, breaking) = (String::new(), HashSet::new(), Vec::new());
    let mut comparison = Comparison { old, new, operation, compared, today, breaking };
    comparison.documents();
    comparison.breaking
}

/// The direction in which a value is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Direction {
    /// From the client: every value accepted by the old document must still be accepted.
    Request,
    /// To the client: everything guaranteed by the old document must still hold.
    Response,
}

struct Comparison<'d> {
    old: &'d Value,
    new: &'d Value,
    /// The current operation.
    operation: String,
    /// The pairs of named schemas that were compared already. Without this set, comparing recursive schemas
    /// would not end.
    compared: HashSet<(Direction, &'d str, &'d str)>,
    today: NaiveDate,
    breaking: Vec<String>,
}

impl<'d> Comparison<'d> {
    fn documents(&mut self) {
        for (path, item) in members(self.old.get("paths")) {
            for (method, old) in members(Some(item)) {
                self.operation = format!("{} {path}", method.to_uppercase());
                let new =
                    self.new.get("paths").and_then(|paths| paths.get(path)).and_then(|item| item.get(method));
                match new {
                    Some(new) => self.operation(old, new),
                    // A deprecated operation may be removed after its sunset date.
                    None if sunset(old).is_some_and(|day| day < self.today) => {}
                    None => self.report("was removed".to_owned()),
                }
            }
        }
    }

    fn report(&mut self, change: String) {
        let line = if self.operation.is_empty() { change } else { format!("{}: {change}", self.operation) };
        if !self.breaking.contains(&line) {
            self.breaking.push(line);
        }
    }

    fn operation(&mut self, old: &'d Value, new: &'d Value) {
        if old.get("operationId") != new.get("operationId") {
            self.report("has another operationId, from which SDKs generate the method name".to_owned());
        }
        // Every accepted security scheme must stay accepted; an empty list requires no credential.
        let (was, is) = (items(old.get("security")), items(new.get("security")));
        if !is.is_empty() && (was.is_empty() || was.iter().any(|scheme| !is.contains(scheme))) {
            self.report("requires another credential".to_owned());
        }
        let old_scopes = items(old.get("x-required-scopes"));
        for scope in items(new.get("x-required-scopes")).iter().filter(|scope| !old_scopes.contains(scope)) {
            self.report(format!("requires the additional scope {scope}"));
        }
        self.parameters(old, new);
        self.request(old, new);
        self.responses(old, new);
    }

    fn parameters(&mut self, old: &'d Value, new: &'d Value) {
        let key = |it: &Value| (it.get("in").cloned(), it.get("name").cloned());
        let (was, is) = (items(old.get("parameters")), items(new.get("parameters")));
        for new in is {
            let old = was.iter().find(|old| key(old) == key(new));
            if flag(new, "required") && !old.is_some_and(|old| flag(old, "required")) {
                self.report(format!("the parameter {} became required", name(new)));
            }
        }
        for old in was {
            match is.iter().find(|new| key(new) == key(old)) {
                Some(new) => {
                    self.schema(
                        Direction::Request,
                        &format!("?{}", name(old)),
                        old.get("schema"),
                        new.get("schema"),
                    );
                }
                None => self.report(format!("the parameter {} was removed", name(old))),
            }
        }
    }

    fn request(&mut self, old: &'d Value, new: &'d Value) {
        match (old.get("requestBody"), new.get("requestBody")) {
            (None, None) => {}
            (None, Some(new)) => {
                if flag(new, "required") {
                    self.report("requires a body".to_owned());
                }
            }
            (Some(_), None) => self.report("no longer accepts a body".to_owned()),
            (Some(old), Some(new)) => {
                if flag(new, "required") && !flag(old, "required") {
                    self.report("requires a body".to_owned());
                }
                self.content(Direction::Request, "request", old, new);
            }
        }
    }

    fn responses(&mut self, old: &'d Value, new: &'d Value) {
        let (was, is) = (members(old.get("responses")), members(new.get("responses")));
        for (status, old) in was {
            let Some(new) = is.get(status) else {
                self.report(format!("{status} was removed"));
                continue;
            };
            let (old, new) = (resolved(self.old, old), resolved(self.new, new));
            let new_headers = members(new.get("headers"));
            for (header, old) in members(old.get("headers")) {
                let new = new_headers.get(header).map(|new| resolved(self.new, new));
                let was_required = flag(resolved(self.old, old), "required");
                if new.is_none_or(|new| was_required && !flag(new, "required")) {
                    self.report(format!("{status} no longer guarantees the header {header}"));
                }
            }
            self.content(Direction::Response, status, old, new);
        }
        // A client can handle an unknown error status by its class, but not an unknown success status.
        for status in is.keys().filter(|status| status.starts_with(['2', '3']) && !was.contains_key(*status))
        {
            self.report(format!("{status} is a new status below 400"));
        }
    }

    fn content(&mut self, direction: Direction, part: &str, old: &'d Value, new: &'d Value) {
        let (was, is) = (members(old.get("content")), members(new.get("content")));
        for (media, old) in was {
            match is.get(media) {
                Some(new) => self.schema(direction, part, old.get("schema"), new.get("schema")),
                None => self.report(format!("{part} is no longer available as {media}")),
            }
        }
        if direction == Direction::Response && was.is_empty() && !is.is_empty() {
            self.report(format!("{part} now has a body"));
        }
    }

    fn schema(&mut self, direction: Direction, part: &str, old: Option<&'d Value>, new: Option<&'d Value>) {
        let (Some(old), Some(new)) = (old, new) else {
            if old != new {
                self.report(format!("{part}: cannot be compared"));
            }
            return;
        };
        self.nullable(direction, part, old, new);
        let (old, new) = (unwrapped(old), unwrapped(new));
        if let (Some(was), Some(is)) = (reference_name(old), reference_name(new)) {
            if was != is {
                self.report(format!("{part} is {is}, not {was}, from which SDKs generate the type name"));
            }
            if !self.compared.insert((direction, was, is)) {
                return;
            }
        }
        let (old, new) = (resolved(self.old, old), resolved(self.new, new));
        self.variants(direction, part, old, new);
        for union in ["allOf", "anyOf", "not"] {
            if old.get(union) != new.get(union) {
                self.report(format!("{part}: {union} cannot be compared"));
            }
        }
        for fixed in ["type", "format"] {
            if old.get(fixed) != new.get(fixed) {
                self.report(format!("{part} has another {fixed}"));
            }
        }
        self.values(direction, part, old, new);
        if direction == Direction::Request {
            self.bounds(part, old, new);
        }
        if old.get("items").is_some() {
            self.schema(direction, &format!("{part}[]"), old.get("items"), new.get("items"));
        }
        self.properties(direction, part, old, new);
    }

    /// Compares tagged unions, whose variants are named schemas. New variants of a request are compatible.
    fn variants(&mut self, direction: Direction, part: &str, old: &'d Value, new: &'d Value) {
        let (was, is) = (items(old.get("oneOf")), items(new.get("oneOf")));
        if old.get("discriminator").and_then(|it| it.get("propertyName"))
            != new.get("discriminator").and_then(|it| it.get("propertyName"))
        {
            self.report(format!("{part} has another discriminator"));
        }
        if direction == Direction::Response && was.len() != is.len() || was.is_empty() != is.is_empty() {
            self.report(format!("{part}: oneOf cannot be compared"));
        }
        for variant in was {
            match is.iter().find(|new| reference_name(new) == reference_name(variant)) {
                Some(new) => self.schema(direction, part, Some(variant), Some(new)),
                None => self.report(format!("{part} no longer accepts a variant")),
            }
        }
    }

    /// Compares `enum`. More values in a request and fewer values in a response are compatible.
    fn values(&mut self, direction: Direction, part: &str, old: &Value, new: &Value) {
        let (narrow, wide) = if direction == Direction::Request { (old, new) } else { (new, old) };
        let is_compatible = match (narrow.get("enum"), wide.get("enum")) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(narrow), Some(wide)) => items(Some(narrow)).iter().all(|it| items(Some(wide)).contains(it)),
        };
        if !is_compatible {
            self.report(match direction {
                Direction::Request => format!("{part} accepts fewer values"),
                Direction::Response => format!("{part} may have new values"),
            });
        }
    }

    /// Compares `nullable`. A nullable value in a request must stay nullable; a value in a response must not
    /// become nullable.
    fn nullable(&mut self, direction: Direction, part: &str, old: &Value, new: &Value) {
        let (narrow, wide) = if direction == Direction::Request { (old, new) } else { (new, old) };
        if flag(narrow, "nullable") && !flag(wide, "nullable") {
            self.report(match direction {
                Direction::Request => format!("{part} can no longer be null"),
                Direction::Response => format!("{part} may be null"),
            });
        }
    }

    /// Compares the constraints on a value in a request: every valid value must stay valid.
    fn bounds(&mut self, part: &str, old: &Value, new: &Value) {
        let bound = |schema: &Value, name: &str| schema.get(name).and_then(Value::as_f64);
        for (name, no_bound, is_lower) in [
            ("minimum", f64::NEG_INFINITY, true),
            ("minLength", 0.0, true),
            ("minItems", 0.0, true),
            ("minProperties", 0.0, true),
            ("maximum", f64::INFINITY, false),
            ("maxLength", f64::INFINITY, false),
            ("maxItems", f64::INFINITY, false),
            ("maxProperties", f64::INFINITY, false),
        ] {
            let (was, is) = (bound(old, name).unwrap_or(no_bound), bound(new, name).unwrap_or(no_bound));
            if if is_lower { is > was } else { is < was } {
                self.report(format!("{part} has a narrower {name}"));
            }
        }
        if new.get("pattern").is_some_and(|pattern| old.get("pattern") != Some(pattern)) {
            self.report(format!("{part} has another pattern"));
        }
        if flag(new, "uniqueItems") && !flag(old, "uniqueItems") {
            self.report(format!("{part} no longer allows duplicates"));
        }
        if old.get("default").is_some_and(|default| new.get("default") != Some(default)) {
            self.report(format!("{part} has another default"));
        }
        let is_closed = |schema: &Value| schema.get("additionalProperties") == Some(&json!(false));
        if is_closed(new) && !is_closed(old) {
            self.report(format!("{part} no longer accepts other fields"));
        }
    }

    fn properties(&mut self, direction: Direction, part: &str, old: &'d Value, new: &'d Value) {
        let (was, is) = (members(old.get("properties")), members(new.get("properties")));
        let required = |schema: &'d Value| items(schema.get("required"));
        for (name, old) in was {
            match is.get(name) {
                Some(new) => self.schema(direction, &format!("{part}.{name}"), Some(old), Some(new)),
                None => self.report(format!("{part}.{name} was removed")),
            }
        }
        let (needed, guaranteed) = match direction {
            Direction::Request => (required(new), required(old)),
            Direction::Response => (required(old), required(new)),
        };
        for name in needed.iter().filter(|name| !guaranteed.contains(name)).filter_map(Value::as_str) {
            match direction {
                Direction::Request => self.report(format!("{part}.{name} became required")),
                Direction::Response if is.contains_key(name) => {
                    self.report(format!("{part}.{name} may be absent"));
                }
                Direction::Response => {}
            }
        }
    }
}

/// Returns the last day on which a deprecated operation is guaranteed to work.
fn sunset(operation: &Value) -> Option<NaiveDate> {
    operation.get("x-sunset")?.as_str()?.parse().ok()
}

/// If the schema only makes a reference nullable, returns the reference. Otherwise returns the schema itself.
fn unwrapped(schema: &Value) -> &Value {
    match items(schema.get("allOf")) {
        [reference] if flag(schema, "nullable") => reference,
        _ => schema,
    }
}

/// Returns the name of the referenced schema.
fn reference_name(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name) == Some(&Value::Bool(true))
}

fn name(value: &Value) -> &str {
    value.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn members(value: Option<&Value>) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.and_then(Value::as_object).unwrap_or(&NONE)
}

/// Returns the referenced value, or `value` itself if it is not a reference.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let reference = value.get("$ref").and_then(Value::as_str);
    reference.and_then(|path| document.pointer(path.trim_start_matches('#'))).unwrap_or(value)
}

#[cfg(test)]
mod tests;
