//! A small set that takes no more room than what is in it: an account has few devices and few rooms, and there are a million
//! of such sets. PURE.

/// In order, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sorted<T>(Vec<T>);

impl<T> Default for Sorted<T> {
    fn default() -> Sorted<T> {
        Sorted(Vec::new())
    }
}

impl<T: Ord> Sorted<T> {
    pub(super) fn insert(&mut self, item: T) {
        if let Err(at) = self.0.binary_search(&item) {
            // By an eighth: a vector of one doubles to four.
            if self.0.len() == self.0.capacity() {
                self.0.reserve_exact(1 + self.0.len() / 8);
            }
            self.0.insert(at, item);
        }
    }

    pub(super) fn remove(&mut self, item: &T) {
        if let Ok(at) = self.0.binary_search(item) {
            self.0.remove(at);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those behind this one.
    pub(super) fn after(&self, item: Option<&T>) -> impl Iterator<Item = &T> {
        let from = item.map_or(0, |item| self.0.partition_point(|other| other <= item));
        self.0[from..].iter()
    }
}

impl<'a, T> IntoIterator for &'a Sorted<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_in_order_each_once_and_read_from_any_place() {
        let mut sorted = Sorted::default();
        for item in [5, 1, 9, 5, 3, 7] {
            sorted.insert(item);
        }
        sorted.remove(&9);
        sorted.remove(&4);
        let after = |item: Option<i32>| sorted.after(item.as_ref()).copied().collect::<Vec<_>>();
        assert_eq!(after(None), [1, 3, 5, 7]);
        assert_eq!((after(Some(3)), after(Some(4)), after(Some(7))), (vec![5, 7], vec![5, 7], vec![]));
        [1, 3, 5, 7].iter().for_each(|item| sorted.remove(item));
        assert!(sorted.is_empty());
    }
}
