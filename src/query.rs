//! `query`

pub mod rendering;
