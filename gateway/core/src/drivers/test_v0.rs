//! placeholder
use crate::session::*;
pub struct TestV0;
impl Driver for TestV0 {
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
