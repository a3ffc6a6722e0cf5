//! `app`
