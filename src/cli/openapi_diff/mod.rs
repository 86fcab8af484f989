//! What a change of the document breaks for the apps that were made for the old one.
//!
//! An app sends what the old document let it send, and reads what that promised: both must go on. So a
//! request may only be asked for less, an answer may only say more. Names that generated SDKs take over
//! (operations, schemas) stay. What can't be compared counts as broken.

use std::collections::HashSet;

use chrono::NaiveDate;
use serde_json::{Map, Value, json};

/// Everything that an app made for `old` would stumble over, a line each; empty if nothing.
pub(super) fn changes(old: &Value, new: &Value, today: NaiveDate) -> Vec<String> {
    let (at, done, broken) = (String::new(), HashSet::new(), Vec::new());
    let mut compared = Compared { old, new, at, done, today, broken };
    compared.documents();
    compared.broken
}

/// Which way a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Direction {
    /// From the app: what was taken must be taken still.
    Request,
    /// To the app: what was told must be told still.
    Response,
}

struct Compared<'d> {
    old: &'d Value,
    new: &'d Value,
    /// The operation that is looked at.
    at: String,
    /// The pairs of named schemas that were compared: they may refer to themselves.
    done: HashSet<(Direction, &'d str, &'d str)>,
    today: NaiveDate,
    broken: Vec<String>,
}

impl<'d> Compared<'d> {
    fn documents(&mut self) {
        for (path, item) in members(self.old.get("paths")) {
            for (method, old) in members(Some(item)) {
                self.at = format!("{} {path}", method.to_uppercase());
                let new =
                    self.new.get("paths").and_then(|paths| paths.get(path)).and_then(|item| item.get(method));
                match new {
                    Some(new) => self.operation(old, new),
                    // What was deprecated may go once its time is over.
                    None if sunset(old).is_some_and(|day| day < self.today) => {}
                    None => self.tell("is gone".to_owned()),
                }
            }
        }
    }

    fn tell(&mut self, what: String) {
        let line = if self.at.is_empty() { what } else { format!("{}: {what}", self.at) };
        if !self.broken.contains(&line) {
            self.broken.push(line);
        }
    }

    fn operation(&mut self, old: &'d Value, new: &'d Value) {
        if old.get("operationId") != new.get("operationId") {
            self.tell("has another operationId, after which SDKs name the method".to_owned());
        }
        // Each way in that was open stays open; no way in asked for means that all are open.
        let (was, is) = (items(old.get("security")), items(new.get("security")));
        if !is.is_empty() && (was.is_empty() || was.iter().any(|way| !is.contains(way))) {
            self.tell("asks for another credential".to_owned());
        }
        let had = items(old.get("x-required-scopes"));
        for scope in items(new.get("x-required-scopes")).iter().filter(|scope| !had.contains(scope)) {
            self.tell(format!("needs the scope {scope} too"));
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
                self.tell(format!("the parameter {} is required", name(new)));
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
                None => self.tell(format!("the parameter {} is gone", name(old))),
            }
        }
    }

    fn request(&mut self, old: &'d Value, new: &'d Value) {
        match (old.get("requestBody"), new.get("requestBody")) {
            (None, None) => {}
            (None, Some(new)) => {
                if flag(new, "required") {
                    self.tell("needs a body".to_owned());
                }
            }
            (Some(_), None) => self.tell("takes no body any more".to_owned()),
            (Some(old), Some(new)) => {
                if flag(new, "required") && !flag(old, "required") {
                    self.tell("needs a body".to_owned());
                }
                self.content(Direction::Request, "request", old, new);
            }
        }
    }

    fn responses(&mut self, old: &'d Value, new: &'d Value) {
        let (was, is) = (members(old.get("responses")), members(new.get("responses")));
        for (status, old) in was {
            let Some(new) = is.get(status) else {
                self.tell(format!("{status} is gone"));
                continue;
            };
            let (old, new) = (resolved(self.old, old), resolved(self.new, new));
            let new_headers = members(new.get("headers"));
            for (header, old) in members(old.get("headers")) {
                let new = new_headers.get(header).map(|new| resolved(self.new, new));
                let was_sure = flag(resolved(self.old, old), "required");
                if new.is_none_or(|new| was_sure && !flag(new, "required")) {
                    self.tell(format!("{status} need not have the header {header} any more"));
                }
            }
            self.content(Direction::Response, status, old, new);
        }
        // An app knows what to do about an error by its class, but not about another success.
        for status in is.keys().filter(|status| status.starts_with(['2', '3']) && !was.contains_key(*status))
        {
            self.tell(format!("{status} is a new kind of success"));
        }
    }

    fn content(&mut self, way: Direction, part: &str, old: &'d Value, new: &'d Value) {
        let (was, is) = (members(old.get("content")), members(new.get("content")));
        for (media, old) in was {
            match is.get(media) {
                Some(new) => self.schema(way, part, old.get("schema"), new.get("schema")),
                None => self.tell(format!("{part} is not {media} any more")),
            }
        }
        if way == Direction::Response && was.is_empty() && !is.is_empty() {
            self.tell(format!("{part} has a body"));
        }
    }

    fn schema(&mut self, way: Direction, part: &str, old: Option<&'d Value>, new: Option<&'d Value>) {
        let (Some(old), Some(new)) = (old, new) else {
            if old != new {
                self.tell(format!("{part}: can't be compared"));
            }
            return;
        };
        if let (Some(was), Some(is)) = (named(old), named(new)) {
            if was != is {
                self.tell(format!("{part} is {is}, not {was}, after which SDKs name its type"));
            }
            if !self.done.insert((way, was, is)) {
                return;
            }
        }
        let (old, new) = (resolved(self.old, old), resolved(self.new, new));
        for union in ["allOf", "anyOf", "oneOf", "not"] {
            if old.get(union) != new.get(union) {
                self.tell(format!("{part}: {union} can't be compared"));
            }
        }
        for fixed in ["type", "format"] {
            if old.get(fixed) != new.get(fixed) {
                self.tell(format!("{part} has another {fixed}"));
            }
        }
        self.values(way, part, old, new);
        if way == Direction::Request {
            self.bounds(part, old, new);
        }
        if old.get("items").is_some() {
            self.schema(way, &format!("{part}[]"), old.get("items"), new.get("items"));
        }
        self.members(way, part, old, new);
    }

    /// Lists of values and `null`: a request may be given more of them, an answer fewer.
    fn values(&mut self, way: Direction, part: &str, old: &Value, new: &Value) {
        let (narrow, wide) = if way == Direction::Request { (old, new) } else { (new, old) };
        let fits = match (narrow.get("enum"), wide.get("enum")) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(narrow), Some(wide)) => items(Some(narrow)).iter().all(|it| items(Some(wide)).contains(it)),
        };
        if !fits {
            self.tell(match way {
                Direction::Request => format!("{part} takes fewer values"),
                Direction::Response => format!("{part} may have values that nobody knew"),
            });
        }
        if flag(narrow, "nullable") && !flag(wide, "nullable") {
            self.tell(match way {
                Direction::Request => format!("{part} can't be null any more"),
                Direction::Response => format!("{part} may be null"),
            });
        }
    }

    /// Of requests: what was long enough, large enough or of the right form before is so still.
    fn bounds(&mut self, part: &str, old: &Value, new: &Value) {
        let bound = |schema: &Value, name: &str| schema.get(name).and_then(Value::as_f64);
        for (name, no_bound, is_least) in [
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
            if if is_least { is > was } else { is < was } {
                self.tell(format!("{part} has a narrower {name}"));
            }
        }
        if new.get("pattern").is_some_and(|pattern| old.get("pattern") != Some(pattern)) {
            self.tell(format!("{part} has another pattern"));
        }
        if flag(new, "uniqueItems") && !flag(old, "uniqueItems") {
            self.tell(format!("{part} may hold nothing twice"));
        }
        if old.get("default").is_some_and(|default| new.get("default") != Some(default)) {
            self.tell(format!("{part} is something else if absent"));
        }
        let is_closed = |schema: &Value| schema.get("additionalProperties") == Some(&json!(false));
        if is_closed(new) && !is_closed(old) {
            self.tell(format!("{part} takes no other members any more"));
        }
    }

    fn members(&mut self, way: Direction, part: &str, old: &'d Value, new: &'d Value) {
        let (was, is) = (members(old.get("properties")), members(new.get("properties")));
        let required = |schema: &'d Value| items(schema.get("required"));
        for (name, old) in was {
            match is.get(name) {
                Some(new) => self.schema(way, &format!("{part}.{name}"), Some(old), Some(new)),
                None => self.tell(format!("{part}.{name} is gone")),
            }
        }
        let (needed, sure) = match way {
            Direction::Request => (required(new), required(old)),
            Direction::Response => (required(old), required(new)),
        };
        for name in needed.iter().filter(|name| !sure.contains(name)).filter_map(Value::as_str) {
            match way {
                Direction::Request => self.tell(format!("{part}.{name} is required")),
                Direction::Response if is.contains_key(name) => {
                    self.tell(format!("{part}.{name} may be absent"));
                }
                Direction::Response => {}
            }
        }
    }
}

/// The last day on which it works for sure.
fn sunset(operation: &Value) -> Option<NaiveDate> {
    operation.get("x-sunset")?.as_str()?.parse().ok()
}

/// The schema that it refers to.
fn named(schema: &Value) -> Option<&str> {
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

/// What it refers to, or itself.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let reference = value.get("$ref").and_then(Value::as_str);
    reference.and_then(|at| document.pointer(at.trim_start_matches('#'))).unwrap_or(value)
}

#[cfg(test)]
mod tests;
