//! `volume`
