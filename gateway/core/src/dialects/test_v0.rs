//! placeholder
use super::*;
pub struct TestV0;
impl Dialect for TestV0 {
    fn name(&self) -> &'static str {
        "x"
    }
    fn about(&self) -> &'static str {
        ""
    }
    fn speaks(&self, _: EventName) -> bool {
        true
    }
    fn needs_history(&self, _: EventName) -> bool {
        false
    }
    fn check_secret(&self, _: Option<&str>) -> Result<(), String> {
        Ok(())
    }
    fn render(&self, _: &[Event], _: &Attempt<'_>) -> Result<Option<Request>, RenderError> {
        unimplemented!()
    }
    fn judge(&self, _: &[Event], _: &Response, _: Now) -> Outcome {
        unimplemented!()
    }
    fn schedule(&self) -> RetrySchedule {
        RetrySchedule::standard()
    }
}
