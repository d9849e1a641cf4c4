//! `events`: what happens, as it happens.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};
use wharf_template::{MissingKey, Options, Template};
use wharf_wire::{Event, EventsQuery};

use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::{filter, flags, time};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    query: EventsQuery,
    format: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["system events", "events"],
    about: "Get real time events from the server",
    usage: "[OPTIONS]",
    grammar: Grammar {
        flags: &[&[
            flags::filter(|a, v| filter::add(&mut a.query.filters, v)),
            flags::format_of_one(|a, v| {
                a.format = Some(v.to_owned());
                Ok(())
            }),
            F::value(
                "since",
                "string",
                "Show all events created since timestamp",
                |a, v| {
                    a.since = Some(v.to_owned());
                    Ok(())
                },
            ),
            F::value(
                "until",
                "string",
                "Stream events until this timestamp",
                |a, v| {
                    a.until = Some(v.to_owned());
                    Ok(())
                },
            ),
        ]],
        interspersed: true,
        arity: Arity::None,
    },
    run,
};

/// How one event is shown.
enum Shape {
    Line(TimeZone),
    Json,
    Template(Template),
}

fn run(context: &Context, arguments: Arguments, _: Vec<String>) -> Result<u8, Failure> {
    let shape =
        match arguments.format.as_deref() {
            None | Some("") => Shape::Line(TimeZone::system()),
            Some("json" | "{{json .}}") => Shape::Json,
            Some(text) => Shape::Template(Template::parse("", text).map_err(|error| {
                Failure::with_code(format!("Error parsing format: {error}"), 64)
            })?),
        };
    let mut query = arguments.query;
    for (text, place) in [
        (&arguments.since, &mut query.since),
        (&arguments.until, &mut query.until),
    ] {
        if let Some(text) = text {
            *place = Some(time::parse(text, &Zoned::now()).map_err(|error| Failure::of(&error))?);
        }
    }
    let client = context.client()?;
    context.block_on(async {
        let mut reply = client
            .call(hyper::Method::GET, &format!("/events{}", query.write()))
            .await?;
        let mut pending = Vec::new();
        while let Some(piece) = reply.piece().await? {
            pending.extend_from_slice(&piece);
            let mut documents = serde_json::Deserializer::from_slice(&pending).into_iter::<Value>();
            let mut done = 0;
            while let Some(Ok(event)) = documents.next() {
                context.printer.line(&shape.show(event)?)?;
                done = documents.byte_offset();
            }
            pending.drain(..done);
        }
        Ok(0)
    })
}

impl Shape {
    fn show(&self, event: Value) -> Result<String, Failure> {
        match self {
            Self::Json => Ok(event.to_string()),
            Self::Template(template) => by_template(template, event),
            Self::Line(zone) => {
                let event: Event =
                    serde_json::from_value(event).map_err(|error| Failure::of(&error))?;
                Ok(line(&event, zone))
            }
        }
    }
}

/// `2026-01-31T12:00:00.000000000Z container start ID (image=x, name=y)`.
fn line(event: &Event, zone: &TimeZone) -> String {
    let mut text = String::new();
    let nanoseconds = if event.time_nano == 0 {
        event.time.saturating_mul(1_000_000_000)
    } else {
        event.time_nano
    };
    if let Ok(time) = Timestamp::from_nanosecond(nanoseconds.into()) {
        let time = time
            .to_zoned(zone.clone())
            .strftime("%Y-%m-%dT%H:%M:%S.%9f%:z")
            .to_string();
        text.push_str(
            &time
                .strip_suffix("+00:00")
                .map_or(time.clone(), |bare| format!("{bare}Z")),
        );
        text.push(' ');
    }
    text.push_str(&format!(
        "{} {} {}",
        event.kind, event.action, event.actor.id
    ));
    if !event.actor.attributes.is_empty() {
        let pairs: Vec<_> = event
            .actor
            .attributes
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        text.push_str(&format!(" ({})", pairs.join(", ")));
    }
    text
}

/// An event by a template, whose names for the members are Go's and not those on the wire. Attributes are the
/// engine's: one that is not there is no mistake.
fn by_template(template: &Template, event: Value) -> Result<String, Failure> {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let (status, id, from, scope) = (text("status"), text("id"), text("from"), text("scope"));
    let known: Event = serde_json::from_value(event).map_err(|error| Failure::of(&error))?;
    let data = json!({
        "Status": status,
        "ID": id,
        "From": from,
        "Type": known.kind,
        "Action": known.action,
        "Actor": { "ID": known.actor.id, "Attributes": known.actor.attributes },
        "Scope": scope,
        "Time": known.time,
        "TimeNano": known.time_nano,
    });
    let strict = Options {
        root_type: Some("*events.Message"),
        missing_key: MissingKey::Error,
        ..Options::default()
    };
    template
        .execute(&data, &strict)
        .or_else(|error| {
            if error.location.contains(".Attributes.") {
                template.execute(&data, &Options::default())
            } else {
                Err(error)
            }
        })
        .map_err(|error| Failure::with_code(format!("Error parsing format: {error}"), 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let mut event = Event {
            kind: "container".into(),
            action: "start".into(),
            time_nano: 1_769_860_800_000_000_005,
            ..Event::default()
        };
        event.actor.id = "abc".into();
        assert_eq!(
            line(&event, &TimeZone::UTC),
            "2026-01-31T12:00:00.000000005Z container start abc"
        );
        event.actor.attributes = [("name", "x"), ("image", "y")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        assert_eq!(
            line(&event, &TimeZone::UTC),
            "2026-01-31T12:00:00.000000005Z container start abc (image=y, name=x)"
        );
    }
}
