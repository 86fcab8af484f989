//! Lists in statements.
//!
//! A statement is kept prepared by its text, and its text tells how long a list in it is: so lists are
//! brought to few lengths, the powers of two.

/// The list, filled up with its last item: for what may be named twice.
pub fn pad_to_power_of_two<T: Clone>(list: &[T]) -> Vec<T> {
    let size = list.len().next_power_of_two();
    list.iter().chain(std::iter::repeat_n(list.last(), size).flatten()).take(size).cloned().collect()
}

/// The list in pieces: for what must be named once.
pub fn power_of_two_chunks<T>(mut list: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let (piece, rest) = list.split_at_checked(1 << list.len().checked_ilog2()?)?;
        list = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_have_few_lengths(list in prop::collection::vec(any::<u8>(), 0..200)) {
            let pad_to_power_of_two = pad_to_power_of_two(&list);
            prop_assert!(pad_to_power_of_two.len() == list.len().next_power_of_two() || list.is_empty() && pad_to_power_of_two.is_empty());
            prop_assert_eq!(&pad_to_power_of_two[..list.len()], &list);
            prop_assert!(pad_to_power_of_two[list.len()..].iter().all(|one| Some(one) == list.last()));
            let power_of_two_chunks: Vec<&[u8]> = power_of_two_chunks(&list).collect();
            prop_assert!(power_of_two_chunks.iter().all(|piece| piece.len().is_power_of_two()));
            prop_assert_eq!(power_of_two_chunks.concat(), list);
        }
    }
}
