//! Cursors: where a page of a list ended.
//!
//! Opaque and authenticated, and bound to their owner, order and filters: a changed one, another
//! user's and another list's are all the same "bad cursor". They name the last trip seen, not a
//! count, so inserts and deletes neither skip nor repeat what was there throughout.

use uuid::Uuid;

use super::listing::{Listing, Sort};
use crate::secrets::MacKey;

/// What no other text that is authenticated with the same key begins with.
const LIST: &[u8] = b"trips v2";
const ID_BYTES: usize = 16;

/// What a list is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// Milliseconds, days or changes.
    Number(i64),
    /// A folded title.
    Text(String),
}

/// A place in a list, just after one trip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// Of that trip, in the order of the list.
    pub(super) key: Key,
    /// Of that trip.
    pub(super) id: Uuid,
}

impl Position {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = match &self.key {
            Key::Number(number) => number.to_be_bytes().to_vec(),
            Key::Text(text) => text.clone().into_bytes(),
        };
        bytes.extend_from_slice(self.id.as_bytes());
        bytes
    }

    /// As a cursor of this list.
    pub(super) fn encode(&self, list: &Listing, codes: &MacKey) -> String {
        codes.seal(&context(list), &self.bytes())
    }

    /// Reads a cursor that this list gave; `None` for any other text.
    pub(super) fn decode(text: &str, list: &Listing, codes: &MacKey) -> Option<Self> {
        let said = codes.open(&context(list), text)?;
        let (key, id) = said.split_at_checked(said.len().checked_sub(ID_BYTES)?)?;
        let key = match list.sort {
            Sort::Title => Key::Text(String::from_utf8(key.to_vec()).ok()?),
            Sort::Created | Sort::Start | Sort::Updated => {
                Key::Number(i64::from_be_bytes(key.try_into().ok()?))
            }
        };
        Some(Self { key, id: Uuid::from_slice(id).ok()? })
    }
}

fn context(list: &Listing) -> Vec<u8> {
    [LIST, list.owner.as_bytes(), &list.fingerprint()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trips::listing::Filter;
    use proptest::prelude::*;

    fn codes() -> MacKey {
        MacKey::new(&[3; 32])
    }

    fn list(owner: u128, sort: Sort, q: Option<&str>) -> Listing {
        let filter = Filter { q: q.map(str::to_owned), ..Filter::default() };
        Listing { owner: Uuid::from_u128(owner), limit: 20, sort, filter, after: None }
    }

    proptest! {
        #[test]
        fn a_cursor_is_good_for_its_owner_and_list_alone(number in any::<i64>(), title in "\\PC{0,20}", id in any::<u128>(), owner in any::<u128>(), other in any::<u128>()) {
            // S-56
            prop_assume!(owner != other);
            let sorts = [Sort::Created, Sort::Start, Sort::Updated, Sort::Title];
            for sort in sorts {
                let key = if sort == Sort::Title { Key::Text(title.clone()) } else { Key::Number(number) };
                let position = Position { key, id: Uuid::from_u128(id) };
                let text = position.encode(&list(owner, sort, None), &codes());
                prop_assert_eq!(Position::decode(&text, &list(owner, sort, None), &codes()), Some(position));
                prop_assert_eq!(Position::decode(&text, &list(other, sort, None), &codes()), None);
                prop_assert_eq!(Position::decode(&text, &list(owner, sort, Some("x")), &codes()), None);
                for wrong in sorts.into_iter().filter(|wrong| *wrong != sort) {
                    prop_assert_eq!(Position::decode(&text, &list(owner, wrong, None), &codes()), None);
                }
            }
        }

        #[test]
        fn a_changed_cursor_is_none(at in 0..54_usize, new in "[A-Za-z0-9_-]") {
            // S-56
            let list = list(1, Sort::Created, None);
            let text = Position { key: Key::Number(1_700_000_000_000), id: Uuid::from_u128(2) }.encode(&list, &codes());
            prop_assert_eq!(text.len(), 54);
            let changed = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            prop_assume!(changed != text);
            prop_assert_eq!(Position::decode(&changed, &list, &codes()), None);
        }

        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,100}") {
            prop_assert_eq!(Position::decode(&text, &list(0, Sort::Title, None), &codes()), None);
        }
    }
}
