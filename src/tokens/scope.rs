//! Scopes: the permissions of a token (RFC 6749 §3.3).

use std::fmt;

/// A permission of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Permission to read and change the account.
    Account,
    /// Permission to read trips.
    TripsRead,
    /// Permission to create, change and delete trips.
    TripsWrite,
}

impl Scope {
    /// All scopes, in the order of their text form.
    pub const ALL: [Self; 3] = [Self::Account, Self::TripsRead, Self::TripsWrite];

    /// Returns the name in tokens and in the OpenAPI document.
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
    /// Returns all scopes.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Returns true if the set contains `scope`.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Parses names separated by single spaces. Returns `None` for an unknown name or an empty text.
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
        let mut separator = "";
        for scope in Scope::ALL.into_iter().filter(|scope| self.contains(*scope)) {
            write!(f, "{separator}{}", scope.name())?;
            separator = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_in_a_fixed_order_and_parsed_in_any_order() {
        assert_eq!(Scopes::all().to_string(), "account trips:read trips:write");
        let scopes = Scopes::parse("trips:write account").unwrap();
        assert_eq!(scopes.to_string(), "account trips:write");
        assert!(scopes.contains(Scope::Account) && !scopes.contains(Scope::TripsRead));
    }

    #[test]
    fn invalid_scope_texts_are_rejected() {
        for text in ["", " ", "admin", "account admin", "account  trips:read", "Account", "account "] {
            assert_eq!(Scopes::parse(text), None, "{text:?}");
        }
    }
}
