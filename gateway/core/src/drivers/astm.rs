//! placeholder
use crate::session::*;
pub struct Astm;
impl Driver for Astm {
    fn name(&self) -> &'static str {
        "x"
    }
    fn about(&self) -> &'static str {
        ""
    }
    fn open(&self, _: &DriverOptions) -> Result<Box<dyn Session>, crate::config::ConfigError> {
        unimplemented!()
    }
}
