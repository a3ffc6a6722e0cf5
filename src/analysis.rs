//! `analysis`
