//! Reads the SQL that the server generates, as far as needed to know which owners a statement concerns.

use std::collections::BTreeMap;

/// The owned tables, and the column of each that contains the owner.
pub(super) type OwnerColumns = BTreeMap<String, String>;

/// A word, a name in double quotes (stored without the quotes), or a single other character.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Name(String),
    Sign(char),
}

/// A part of a statement: tokens, and the content of parentheses as a nested list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Token(Token),
    Group(Vec<Part>),
}

impl Part {
    fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Token(Token::Word(this)) if this == word)
    }

    fn is_sign(&self, sign: char) -> bool {
        matches!(self, Self::Token(Token::Sign(this)) if *this == sign)
    }

    fn name(&self) -> Option<&str> {
        if let Self::Token(Token::Name(name)) = self { Some(name) } else { None }
    }
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let (token, length) = if first == '"' || first == '\'' {
            let end = rest[1..].find(first).unwrap() + 1;
            let text = rest[1..end].to_owned();
            (if first == '"' { Token::Name(text) } else { Token::Sign('\'') }, end + 1)
        } else if is_word(first) {
            let end = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
            (Token::Word(rest[..end].to_ascii_uppercase()), end)
        } else {
            (Token::Sign(first), first.len_utf8())
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    tokens
}

fn parts(tokens: &mut impl Iterator<Item = Token>) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some(token) = tokens.next() {
        match token {
            Token::Sign('(') => parts.push(Part::Group(self::parts(tokens))),
            Token::Sign(')') => break,
            token => parts.push(Part::Token(token)),
        }
    }
    parts
}

/// Returns the reasons why a statement could concern several owners. The result is empty if each owned table
/// is restricted to one owner: by `owner = ?`, or by `owner = other.owner` with a restricted table.
///
/// The text does not show whether two `?` stand for the same owner. They do, because a query function has one
/// parameter for the owner (`every_query_function_for_rows_of_a_user_has_a_parameter_for_the_owner`).
pub(super) fn violations(sql: &str, owners: &OwnerColumns) -> Vec<String> {
    let mut reader = Reader { owners, found: Vec::new() };
    reader.statement(&parts(&mut tokens(sql).into_iter()), &[]);
    reader.found
}

/// Returns the tables that a statement names.
pub(super) fn named_tables<'a>(sql: &str, owners: &'a OwnerColumns) -> Vec<&'a str> {
    let names = tokens(sql);
    owners
        .keys()
        .map(String::as_str)
        .filter(|table| names.contains(&Token::Name((*table).to_owned())))
        .collect()
}

struct Reader<'a> {
    owners: &'a OwnerColumns,
    found: Vec<String>,
}

impl Reader<'_> {
    /// Checks a statement or a subquery. `outer` contains the owned tables of the statements around it.
    fn statement(&mut self, statement: &[Part], outer: &[String]) {
        if statement.iter().any(|part| part.is_word("UNION")) {
            for select in statement.split(|part| part.is_word("UNION") || part.is_word("ALL")) {
                self.statement(select, outer);
            }
            return;
        }
        let verb = statement.first();
        if verb.is_some_and(|verb| verb.is_word("INSERT")) {
            self.insert(statement, outer);
            return;
        }
        let from = |word: &str| {
            statement.iter().position(|part| part.is_word(word)).map_or(statement.len(), |at| at + 1)
        };
        let start = if verb.is_some_and(|verb| verb.is_word("UPDATE")) { 1 } else { from("FROM") };
        let named: Vec<String> = table_names(&statement[start.min(statement.len())..]);
        let owned: Vec<String> = named.into_iter().filter(|name| self.owners.contains_key(name)).collect();
        let conjuncts = conjuncts(&statement[from("WHERE").min(statement.len())..]);
        let mut bound: Vec<String> = outer.to_vec();
        // A condition can name the owner of a table that this loop binds later, so repeat the loop.
        for _ in &owned {
            for table in &owned {
                let is_bound =
                    conjuncts.iter().any(|conjunct| self.binds(conjunct, table, owned.len(), &bound));
                if is_bound && !bound.contains(table) {
                    bound.push(table.clone());
                }
            }
        }
        for table in owned.iter().filter(|table| !bound.contains(table)) {
            self.found.push(format!("{table} is not restricted to one owner"));
        }
        if verb.is_some_and(|verb| verb.is_word("UPDATE")) {
            self.assignments(statement, &owned);
        }
        self.nested(statement, &[outer, &owned].concat());
    }

    /// Checks the subqueries of a statement.
    fn nested(&mut self, statement: &[Part], outer: &[String]) {
        for part in statement {
            if let Part::Group(content) = part {
                if content.first().is_some_and(|first| first.is_word("SELECT")) {
                    self.statement(content, outer);
                } else {
                    self.nested(content, outer);
                }
            }
        }
    }

    /// Returns whether a condition restricts `table` to one owner: by `owner = ?`, or by
    /// `owner = other.owner` with a table in `bound`, which contains the tables that are already restricted.
    fn binds(&self, condition: &[Part], table: &str, tables: usize, bound: &[String]) -> bool {
        let Some(at) = condition.iter().position(|part| part.is_sign('=')) else { return false };
        let sides = [&condition[..at], &condition[at + 1..]];
        let names_owner = |side: &[Part]| match side {
            [column] => tables == 1 && column.name() == self.owners.get(table).map(String::as_str),
            [of, dot, column] => {
                dot.is_sign('.')
                    && of.name() == Some(table)
                    && column.name() == self.owners.get(table).map(String::as_str)
            }
            _ => false,
        };
        let is_owner = |side: &[Part]| match side {
            [value] => value.is_sign('?'),
            [of, dot, column] => {
                let other = of.name().unwrap_or_default();
                dot.is_sign('.')
                    && bound.iter().any(|bound| bound == other)
                    && column.name() == self.owners.get(other).map(String::as_str)
            }
            _ => false,
        };
        names_owner(sides[0]) && is_owner(sides[1]) || names_owner(sides[1]) && is_owner(sides[0])
    }

    /// Checks that an update does not move a row to another owner.
    fn assignments(&mut self, statement: &[Part], owned: &[String]) {
        let set = statement.iter().position(|part| part.is_word("SET")).unwrap();
        let end = statement.iter().position(|part| part.is_word("WHERE")).unwrap_or(statement.len());
        for assignment in statement[set + 1..end].split(|part| part.is_sign(',')) {
            let target =
                assignment.iter().take_while(|part| !part.is_sign('=')).filter_map(Part::name).last();
            for table in owned.iter().filter(|table| self.owners.get(*table).map(String::as_str) == target) {
                self.found.push(format!("the owner of {table} is changed"));
            }
        }
    }

    fn insert(&mut self, statement: &[Part], outer: &[String]) {
        let table = statement.iter().find_map(Part::name).unwrap();
        let mut groups = statement.iter().filter_map(|part| match part {
            Part::Group(content) => Some(content.as_slice()),
            Part::Token(_) => None,
        });
        let columns: Vec<&str> = groups.next().unwrap_or_default().iter().filter_map(Part::name).collect();
        let select = statement.iter().position(|part| part.is_word("SELECT"));
        let of = |content: &[Part], at: usize| {
            let value = content.split(|part| part.is_sign(',')).nth(at);
            value.is_some_and(|value| matches!(value, [value] if value.is_sign('?')))
        };
        if let Some(owner) = self.owners.get(table) {
            let Some(at) = columns.iter().position(|column| column == owner) else {
                self.found.push(format!("a row of {table} is inserted without an owner"));
                return;
            };
            let rows: Vec<bool> = if let Some(select) = select {
                let end = statement.iter().position(|part| part.is_word("FROM")).unwrap_or(statement.len());
                vec![of(&statement[select + 1..end], at)]
            } else {
                groups.take(value_rows(statement)).map(|row| of(row, at)).collect()
            };
            if rows.contains(&false) {
                self.found.push(format!("the owner of a row of {table} is not a value"));
            }
            if rows.len() > 1 {
                self.found.push(format!("several rows of {table} are inserted"));
            }
        }
        match select {
            Some(select) => self.statement(&statement[select..], outer),
            None => self.nested(statement, outer),
        }
    }
}

/// Returns the number of rows after `VALUES`.
fn value_rows(statement: &[Part]) -> usize {
    let values = statement.iter().position(|part| part.is_word("VALUES")).unwrap_or(statement.len());
    let rows = statement[values..].iter().skip(1);
    rows.take_while(|part| matches!(part, Part::Group(_)) || part.is_sign(','))
        .filter(|part| !part.is_sign(','))
        .count()
}

/// Returns the names of the tables in `from`, up to the first clause that names no tables, such as WHERE.
fn table_names(from: &[Part]) -> Vec<String> {
    let ends = ["WHERE", "SET", "GROUP", "ORDER", "LIMIT", "FOR"];
    let clause = from.split(|part| ends.iter().any(|end| part.is_word(end))).next().unwrap_or_default();
    let mut names = Vec::new();
    let mut is_next = true;
    for part in clause {
        if let (true, Some(name)) = (is_next, part.name()) {
            names.push(name.to_owned());
            is_next = false;
        }
        is_next |= part.is_sign(',') || part.is_word("JOIN");
    }
    names
}

/// Returns the conditions that AND connects, so that each must be true. Returns none if OR connects them.
fn conjuncts(conditions: &[Part]) -> Vec<Vec<Part>> {
    let ends = ["GROUP", "ORDER", "LIMIT", "FOR", "ON"];
    let conditions =
        conditions.split(|part| ends.iter().any(|end| part.is_word(end))).next().unwrap_or_default();
    if conditions.iter().any(|part| part.is_word("OR")) {
        return Vec::new();
    }
    let each = conditions.split(|part| part.is_word("AND"));
    each.flat_map(|condition| match condition {
        [Part::Group(content)] => conjuncts(content),
        condition => vec![condition.to_vec()],
    })
    .collect()
}

#[test]
fn a_statement_that_does_not_restrict_each_owned_table_to_one_owner_is_reported() {
    let owners: OwnerColumns = [("trips", "owner_id"), ("users", "id")]
        .map(|(table, owner)| (table.to_owned(), owner.to_owned()))
        .into();
    let broken = |sql: &str| !violations(sql, &owners).is_empty();
    for sql in [
        r#"SELECT "value" FROM "leases""#,
        r#"SELECT "id" FROM "trips" WHERE "trips"."owner_id" = ? AND "a" IN (?, ?) ORDER BY "id" LIMIT 3"#,
        r#"SELECT "id" FROM "trips" WHERE ("owner_id" = ? AND ("a" = ? OR "b" = ?))"#,
        r#"SELECT (SELECT "id" FROM "users" WHERE "id" = ?) FROM "trips" WHERE "trips"."owner_id" = ?"#,
        r#"SELECT "a" FROM "trips" WHERE "owner_id" = ? AND EXISTS(SELECT "id" FROM "users" WHERE "users"."id" = "trips"."owner_id")"#,
        r#"SELECT "a" FROM "trips" JOIN "users" ON ? WHERE "trips"."owner_id" = "users"."id" AND "users"."id" = ?"#,
        r#"INSERT INTO "trips" ("a", "owner_id") VALUES (?, ?) ON CONFLICT ("owner_id") DO UPDATE SET "a" = ?"#,
        r#"INSERT INTO "trips" ("a", "owner_id") SELECT "a" - ?, ? FROM "users" WHERE "id" = ?"#,
        r#"UPDATE "trips" SET "a" = "a" + ? WHERE "owner_id" = ?"#,
        r#"DELETE FROM "trips" WHERE "owner_id" = ?"#,
        r#"SELECT "a" FROM "trips" WHERE "owner_id" = ? UNION ALL SELECT "a" FROM "trips" WHERE "owner_id" = ?"#,
    ] {
        assert!(!broken(sql), "{sql}: {:?}", violations(sql, &owners));
    }
    for sql in [
        r#"SELECT "id" FROM "trips""#,
        r#"SELECT "id" FROM "trips" WHERE "owner_id" = ? OR "a" = ?"#,
        r#"SELECT "id" FROM "trips" WHERE "owner_id" IN (?, ?)"#,
        r#"SELECT "id" FROM "trips" WHERE "owner_id" > ?"#,
        r#"SELECT "id" FROM "trips" WHERE NOT "owner_id" = ?"#,
        r#"SELECT "id" FROM "trips" WHERE "users"."id" = ?"#,
        r#"SELECT (SELECT "id" FROM "users") FROM "trips" WHERE "trips"."owner_id" = ?"#,
        r#"SELECT "n" FROM (SELECT "id" FROM "trips") AS "sub_query""#,
        r#"SELECT "a" FROM "trips" JOIN "users" ON ? WHERE "users"."id" = ?"#,
        r#"SELECT "a" FROM "trips" WHERE "a" = ? AND EXISTS(SELECT "id" FROM "users" WHERE "users"."id" = "leases"."owner_id")"#,
        r#"INSERT INTO "trips" ("a") VALUES (?)"#,
        r#"INSERT INTO "trips" ("a", "owner_id") VALUES (?, ?), (?, ?)"#,
        r#"INSERT INTO "trips" ("a", "owner_id") SELECT "a", "id" FROM "users" WHERE "id" = ?"#,
        r#"UPDATE "trips" SET "a" = ?"#,
        r#"UPDATE "trips" SET "owner_id" = ? WHERE "owner_id" = ?"#,
        r#"DELETE FROM "trips" WHERE "a" = ?"#,
        r#"SELECT "a" FROM "trips" WHERE "owner_id" = ? UNION ALL SELECT "a" FROM "trips""#,
    ] {
        assert!(broken(sql), "{sql}");
    }
}
