//! `phantom`
