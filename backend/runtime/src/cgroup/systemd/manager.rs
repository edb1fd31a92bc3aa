//! What is asked of systemd: a scope around a process, other properties of it, its end.

use super::bus::{Bus, Failure};
use super::message::{Message, Value};
use super::properties::Property;

/// systemd's object.
pub(super) const PATH: &str = "/org/freedesktop/systemd1";
/// Its interface.
pub(super) const INTERFACE: &str = "org.freedesktop.systemd1.Manager";

/// A scope that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Its name: `libpod-abc.scope`.
    pub unit: String,
    /// The slice that it is in.
    pub slice: String,
    /// Limits that systemd has words for.
    pub properties: Vec<Property>,
}

impl Scope {
    /// What describes it to systemd, with the process that is in it.
    fn described(&self, pid: u32) -> Vec<Property> {
        let yes = |name: &'static str| Property(name, Value::Bool(true));
        let mut all = vec![
            Property("Description", Value::text(format!("container {}", self.unit))),
            Property("Slice", Value::text(&self.slice)),
            yes("Delegate"),
            yes("MemoryAccounting"),
            yes("CPUAccounting"),
            yes("IOAccounting"),
            yes("TasksAccounting"),
            // It must not be stopped with the units of a shutdown's first half.
            Property("DefaultDependencies", Value::Bool(false)),
            Property("PIDs", Value::Array("u".to_owned(), vec![Value::U32(pid)])),
        ];
        all.extend(self.properties.iter().cloned());
        all
    }

    /// Makes it around a process, and returns when the process is in it. One of the same name that failed earlier makes way.
    pub fn start(&self, bus: &mut Bus, pid: u32) -> Result<(), Failure> {
        let call = |bus: &mut Bus| {
            let mut message = to_manager(bus, "StartTransientUnit");
            let none = Value::Array("(sa(sv))".to_owned(), Vec::new());
            message.body = vec![Value::text(&self.unit), Value::text("replace"), list(&self.described(pid)), none];
            bus.call(message)
        };
        let answer = match call(bus) {
            Err(Failure::Refused { name, .. }) if name == "org.freedesktop.systemd1.UnitExists" => {
                reset_failed(bus, &self.unit)?;
                call(bus)?
            }
            answer => answer?,
        };
        wait(bus, &self.unit, &answer)
    }
}

/// Tells systemd of other limits, for as long as the unit lives.
pub fn set_properties(bus: &mut Bus, unit: &str, properties: &[Property]) -> Result<(), Failure> {
    let mut message = to_manager(bus, "SetUnitProperties");
    message.body = vec![Value::text(unit), Value::Bool(true), list(properties)];
    bus.call(message).map(drop)
}

/// Whether systemd knows a unit.
pub fn is_known(bus: &mut Bus, unit: &str) -> Result<bool, Failure> {
    let mut message = to_manager(bus, "GetUnit");
    message.body = vec![Value::text(unit)];
    match bus.call(message) {
        Ok(_) => Ok(true),
        Err(Failure::Refused { .. }) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Ends a unit, and returns when it has. One that is gone has ended.
pub fn stop(bus: &mut Bus, unit: &str) -> Result<(), Failure> {
    let mut message = to_manager(bus, "StopUnit");
    message.body = vec![Value::text(unit), Value::text("replace")];
    match bus.call(message) {
        Err(Failure::Refused { name, .. }) if name == "org.freedesktop.systemd1.NoSuchUnit" => Ok(()),
        answer => wait(bus, unit, &answer?),
    }?;
    reset_failed(bus, unit)
}

/// Lets systemd forget that a unit failed; one that it does not know is forgotten.
fn reset_failed(bus: &mut Bus, unit: &str) -> Result<(), Failure> {
    let mut message = to_manager(bus, "ResetFailedUnit");
    message.body = vec![Value::text(unit)];
    match bus.call(message) {
        Err(Failure::Refused { .. }) | Ok(_) => Ok(()),
        Err(failure) => Err(failure),
    }
}

fn to_manager(bus: &Bus, member: &str) -> Message {
    Message::call(bus.destination, PATH, INTERFACE, member)
}

fn list(properties: &[Property]) -> Value {
    let pair = |Property(name, value): &Property| Value::Struct(vec![Value::text(*name), Value::Variant(Box::new(value.clone()))]);
    Value::Array("(sv)".to_owned(), properties.iter().map(pair).collect())
}

fn wait(bus: &mut Bus, unit: &str, answer: &[Value]) -> Result<(), Failure> {
    let job = answer.first().and_then(Value::as_text).unwrap_or_default().to_owned();
    match bus.job_result(&job)?.as_str() {
        "done" => Ok(()),
        result => Err(Failure::Job { unit: unit.to_owned(), result: result.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
