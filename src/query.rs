//! `query`
