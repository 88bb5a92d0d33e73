//! The simulator: one virtual world, its faults, and what must always hold in it.
