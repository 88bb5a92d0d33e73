//! Instances as processes: their life, and what is done to them.

mod house;
mod life;
mod misuse;
mod told;
mod traffic;
mod trouble;
