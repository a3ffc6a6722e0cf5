//! `dimse`
