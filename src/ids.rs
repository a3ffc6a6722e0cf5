//! `ids`
