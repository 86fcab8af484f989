//! Cursors: the position at which a page of a list ended.
//!
//! A cursor is opaque, authenticated, and bound to its owner, order and filters. Modified cursors, cursors of
//! other users and cursors of other lists are rejected as invalid. A cursor contains the position of the last
//! trip of the page and not an offset. If trips are created or deleted between two pages, the list therefore
//! skips no other trip and repeats none.

use uuid::Uuid;

use super::query::{ListPosition, Listing, Sort, SortValue};
use crate::secrets::MacKey;

/// The prefix that separates list cursors from all other messages under the same MAC key.
const CONTEXT_PREFIX: &[u8] = b"trips v2";
const ID_BYTES: usize = 16;

/// Returns this position as a cursor for `list`.
pub(super) fn encode(position: &ListPosition, list: &Listing, mac: &MacKey) -> String {
    mac.sign(&context(list), &position.to_bytes())
}

/// Parses a cursor for `list`; returns `None` for any other text.
pub(super) fn decode(text: &str, list: &Listing, mac: &MacKey) -> Option<ListPosition> {
    let payload = mac.open_signed(&context(list), text)?;
    let (value, id) = payload.split_at_checked(payload.len().checked_sub(ID_BYTES)?)?;
    let value = match list.sort {
        Sort::Title => SortValue::Text(String::from_utf8(value.to_vec()).ok()?),
        Sort::Created | Sort::Start | Sort::LatestStart | Sort::Updated => {
            SortValue::Number(i64::from_be_bytes(value.try_into().ok()?))
        }
    };
    Some(ListPosition { value, id: Uuid::from_slice(id).ok()? })
}

fn context(list: &Listing) -> Vec<u8> {
    [CONTEXT_PREFIX, list.owner.as_bytes(), &list.fingerprint()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trips::query::Filter;
    use proptest::prelude::*;

    fn mac() -> MacKey {
        MacKey::new(&[3; 32])
    }

    fn list(owner: u128, sort: Sort, q: Option<&str>) -> Listing {
        let filter = Filter { q: q.map(str::to_owned), ..Filter::default() };
        Listing { owner: Uuid::from_u128(owner), limit: 20, sort, filter, after: None }
    }

    proptest! {
        #[test]
        fn a_cursor_is_valid_only_for_its_owner_and_list(number in any::<i64>(), title in "\\PC{0,20}", id in any::<u128>(), owner in any::<u128>(), other in any::<u128>()) {
            // S-56
            prop_assume!(owner != other);
            let sorts = [Sort::Created, Sort::Start, Sort::LatestStart, Sort::Updated, Sort::Title];
            for sort in sorts {
                let value = if sort == Sort::Title { SortValue::Text(title.clone()) } else { SortValue::Number(number) };
                let position = ListPosition { value, id: Uuid::from_u128(id) };
                let text = encode(&position, &list(owner, sort, None), &mac());
                prop_assert_eq!(decode(&text, &list(owner, sort, None), &mac()), Some(position));
                prop_assert_eq!(decode(&text, &list(other, sort, None), &mac()), None);
                prop_assert_eq!(decode(&text, &list(owner, sort, Some("x")), &mac()), None);
                for other_sort in sorts.into_iter().filter(|other_sort| *other_sort != sort) {
                    prop_assert_eq!(decode(&text, &list(owner, other_sort, None), &mac()), None);
                }
            }
        }

        #[test]
        fn a_modified_cursor_is_rejected(at in 0..54_usize, new in "[A-Za-z0-9_-]") {
            // S-56
            let list = list(1, Sort::Created, None);
            let value = SortValue::Number(1_700_000_000_000);
            let text = encode(&ListPosition { value, id: Uuid::from_u128(2) }, &list, &mac());
            prop_assert_eq!(text.len(), 54);
            let modified = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            prop_assume!(modified != text);
            prop_assert_eq!(decode(&modified, &list, &mac()), None);
        }

        #[test]
        fn a_text_that_is_not_a_cursor_is_rejected(text in "\\PC{0,100}") {
            prop_assert_eq!(decode(&text, &list(0, Sort::Title, None), &mac()), None);
        }
    }
}
