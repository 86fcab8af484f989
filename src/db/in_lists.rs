//! Lists of values in statements.
//!
//! The cache of prepared statements is keyed by SQL text, and the text depends on the length of its lists.
//! Lists are therefore padded or split to powers of two, so that there are few different texts.

/// Pads a list with its last item, for statements in which an item can occur several times.
pub fn pad_to_power_of_two<T: Clone>(list: &[T]) -> Vec<T> {
    let len = list.len().next_power_of_two();
    list.iter().chain(std::iter::repeat_n(list.last(), len).flatten()).take(len).cloned().collect()
}

/// Splits a list into chunks, for statements in which each item must occur once.
pub fn power_of_two_chunks<T>(mut list: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let (chunk, rest) = list.split_at_checked(1 << list.len().checked_ilog2()?)?;
        list = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_lengths_of_lists_in_statements_are_powers_of_two(list in prop::collection::vec(any::<u8>(), 0..200)) {
            let padded = pad_to_power_of_two(&list);
            let is_padded = padded.len() == list.len().next_power_of_two();
            prop_assert!(is_padded || list.is_empty() && padded.is_empty());
            prop_assert_eq!(&padded[..list.len()], &list);
            prop_assert!(padded[list.len()..].iter().all(|item| Some(item) == list.last()));
            let chunks: Vec<&[u8]> = power_of_two_chunks(&list).collect();
            prop_assert!(chunks.iter().all(|chunk| chunk.len().is_power_of_two()));
            prop_assert_eq!(chunks.concat(), list);
        }
    }
}
