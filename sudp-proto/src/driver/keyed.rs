//! A few things by key, in the order of their keys.

use super::Key;

/// What an endpoint has of each of its streams. These are as many as a session has links and dials, and all of
/// them are gone through several times a turn: what stands in one row costs next to nothing there.
#[derive(Debug)]
pub(crate) struct Keyed<T>(Vec<(Key, T)>);

impl<T> Keyed<T> {
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.0.get(self.place(key).ok()?).map(|(_, thing)| thing)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.place(key).ok()?;
        self.0.get_mut(place).map(|(_, thing)| thing)
    }

    /// Puts something in, in place of what had this key.
    pub(crate) fn insert(&mut self, key: Key, thing: T) {
        match self.place(key) {
            Ok(place) => self.0[place].1 = thing,
            Err(place) => self.0.insert(place, (key, thing)),
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.place(key).ok()?;
        Some(self.0.remove(place).1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.0.iter().map(|(key, thing)| (*key, thing))
    }

    /// All of them, to be changed.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, thing)| thing)
    }

    /// The first behind `last`, so that all can be gone through while they come and go.
    pub(crate) fn after(&self, last: Option<Key>) -> Option<(Key, &T)> {
        let next = last.map_or(0, |last| self.0.partition_point(|(key, _)| *key <= last));
        self.0.get(next).map(|(key, thing)| (*key, thing))
    }

    fn place(&self, key: Key) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |(key, _)| *key)
    }
}

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_gone_through_in_order_while_they_come_and_go() {
        let mut things = Keyed::default();
        for number in [5, 1, 9, 3] {
            things.insert(Key(number), number);
        }
        things.insert(Key(9), 90);
        let (mut last, mut seen) = (None, Vec::new());
        while let Some((key, thing)) = things.after(last) {
            last = Some(key);
            seen.push(*thing);
            if key == Key(3) {
                assert_eq!(things.remove(key), Some(3));
                assert_eq!(things.remove(Key(5)), Some(5));
                things.insert(Key(7), 7);
                things.insert(Key(2), 2);
            }
        }
        assert_eq!(seen, [1, 3, 7, 90], "what is gone is not named, nor what came before where we are");
        let left: Vec<_> = things.iter().map(|(key, _)| key.0).collect();
        assert_eq!(left, [1, 2, 7, 9]);
        assert_eq!((things.get(Key(2)), things.get(Key(3))), (Some(&2), None));
        assert_eq!(things.get_mut(Key(7)), Some(&mut 7));
    }
}
