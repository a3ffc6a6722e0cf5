//! Studies as sets of files: one ZIP while it is written, with the directory that media have
//! (PS3.10 8, PS3.3 F): pure but for the bytes that pass.

mod directory;
pub mod file_set;
mod records;
pub mod zip;

pub use file_set::FileSet;
