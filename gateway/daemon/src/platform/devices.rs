//! placeholder
use super::PortError;
use gateway_core::config::Port;
use std::path::{Path, PathBuf};
pub fn resolve(_root: &Path, _port: &Port) -> Result<PathBuf, PortError> {
    Err(PortError("x".into()))
}
