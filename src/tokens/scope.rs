//! What a token may be used for (RFC 6749 §3.3).

use std::fmt;

/// One thing that a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Reading and changing the account.
    Account,
    /// Reading trips.
    TripsRead,
    /// Writing trips.
    TripsWrite,
}

impl Scope {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Account, Self::TripsRead, Self::TripsWrite];

    /// As it stands in tokens and in the document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::TripsRead => "trips:read",
            Self::TripsWrite => "trips:write",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope there is.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether `scope` is one of these.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Parses names separated by single spaces; `None` for an unknown name or no name at all.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(' ').map(|name| Scope::ALL.into_iter().find(|scope| scope.name() == name)).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for scope in Scope::ALL.into_iter().filter(|scope| self.contains(*scope)) {
            write!(f, "{between}{}", scope.name())?;
            between = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_in_one_order_and_read_in_any() {
        assert_eq!(Scopes::all().to_string(), "account trips:read trips:write");
        let some = Scopes::parse("trips:write account").unwrap();
        assert_eq!(some.to_string(), "account trips:write");
        assert!(some.contains(Scope::Account) && !some.contains(Scope::TripsRead));
    }

    #[test]
    fn an_unknown_scope_is_none() {
        for text in ["", " ", "admin", "account admin", "account  trips:read", "Account", "account "] {
            assert_eq!(Scopes::parse(text), None, "{text:?}");
        }
    }
}
