//! Containers as rows: `containers` and `limits`, and the events of their changes.

use belljar_model::container::ProcessRef;
use belljar_model::{Config, Container, ContainerId, Event, Exit, Limits, NewEvent, State, Wanted};
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Row};

use crate::event::{recorded, to_json, write_events};
use crate::writer::{arguments, batch};
use crate::{Durability, Error, InsertError, Store};

const INSERT: &str = batch!(
    "INSERT INTO containers (id, name, image, config, state, wanted, uid_base, created_at_ms, started_at_ms, \
     init_pid, init_start_ticks, monitor_pid, monitor_start_ticks, exit, restarts, without_ids, image_digest) \
     VALUES (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    "INSERT INTO limits (container_id, memory_bytes, memory_swap_bytes, cpus, pids, further) VALUES (?2, ?19, ?20, ?21, ?22, ?23)",
    write_events!(),
);

const RECORD: &str = batch!(
    "UPDATE containers SET name = ?3, image = ?4, config = ?5, state = ?6, wanted = ?7, uid_base = ?8, created_at_ms = ?9, \
     started_at_ms = ?10, init_pid = ?11, init_start_ticks = ?12, monitor_pid = ?13, monitor_start_ticks = ?14, exit = ?15, \
     restarts = ?16, without_ids = ?17, image_digest = ?18 WHERE id = ?2",
    // The foreign key is what refuses to record a container that is not there.
    "INSERT INTO limits (container_id, memory_bytes, memory_swap_bytes, cpus, pids, further) VALUES (?2, ?19, ?20, ?21, ?22, ?23) \
     ON CONFLICT (container_id) DO UPDATE SET memory_bytes = excluded.memory_bytes, \
     memory_swap_bytes = excluded.memory_swap_bytes, cpus = excluded.cpus, pids = excluded.pids, further = excluded.further",
    write_events!(),
);

const REMOVE: &str = batch!("DELETE FROM containers WHERE id = ?2", write_events!());

const LOAD_ALL: &str = "SELECT * FROM containers LEFT JOIN limits ON limits.container_id = containers.id \
     ORDER BY containers.created_at_ms, containers.id";

impl Store {
    /// Inserts a container and the event that tells of it.
    pub async fn insert(&self, container: &Container, event: NewEvent, durability: Durability) -> Result<Event, InsertError> {
        const OPERATION: &str = "insert a container";
        let events = vec![event];
        let arguments = parameters(container, &events).map_err(Error::statement(OPERATION))?;
        match self.writer.commit(INSERT, arguments, durability).await {
            Ok(rows) => {
                let mut events = recorded(events, &rows).map_err(Error::statement(OPERATION))?;
                events.pop().ok_or_else(|| Error::statement(OPERATION)(sqlx::Error::RowNotFound).into())
            }
            Err(source) if source.as_database_error().is_some_and(|error| error.is_unique_violation()) => {
                Err(self.why_taken(container, source).await)
            }
            Err(source) => Err(Error::statement(OPERATION)(source).into()),
        }
    }

    /// Whose name it is; where it is not the name that is taken, the database's own words.
    async fn why_taken(&self, container: &Container, source: sqlx::Error) -> InsertError {
        let name = &container.config.name;
        let owner = sqlx::query_scalar::<_, String>("SELECT id FROM containers WHERE name = ?1").bind(name.as_str());
        match owner.fetch_optional(&self.readers).await {
            Ok(Some(id)) => match str::parse(&id) {
                Ok(id) => InsertError::NameTaken { name: name.clone(), id },
                Err(invalid) => Error::row("containers", id, "id")(invalid).into(),
            },
            Ok(None) | Err(_) => Error::statement("insert a container")(source).into(),
        }
    }

    /// Records a container as it is now, whole, and the events that tell of the change. Refused if it is not there.
    pub async fn record(&self, container: &Container, events: Vec<NewEvent>, durability: Durability) -> Result<Vec<Event>, Error> {
        let statement = Error::statement("record a container");
        let arguments = parameters(container, &events).map_err(&statement)?;
        let rows = self.writer.commit(RECORD, arguments, durability).await.map_err(&statement)?;
        recorded(events, &rows).map_err(&statement)
    }

    /// Removes a container's row, and records the event that tells of it, durably. No error if it was not there.
    pub async fn remove(&self, id: &ContainerId, event: NewEvent) -> Result<Option<Event>, Error> {
        let statement = Error::statement("remove a container");
        let events = vec![event];
        let arguments = arguments!(to_json(&events), id.as_str().to_owned()).map_err(&statement)?;
        let rows = self.writer.commit(REMOVE, arguments, Durability::Durable).await.map_err(&statement)?;
        // Its folders went before its row: if the disk was full, there is room again.
        self.writer.take_up_ballast().await;
        Ok(recorded(events, &rows).map_err(&statement)?.pop())
    }

    /// Every container, the oldest first.
    pub async fn load_all(&self) -> Result<Vec<Container>, Error> {
        let rows = sqlx::query(LOAD_ALL).fetch_all(&self.readers).await.map_err(Error::statement("read containers"))?;
        rows.iter().map(read).collect()
    }
}

/// The parameters of [`INSERT`] and [`RECORD`]: events first, then the columns in the order of the table, then the limits.
fn parameters(container: &Container, events: &[NewEvent]) -> Result<SqliteArguments, sqlx::Error> {
    let Container { id, config, state, wanted, image_digest, uid_base, without_ids, created_at_ms, started_at_ms, .. } = container;
    let Container { init, monitor, exit, restarts, .. } = container;
    let Limits { memory_bytes, memory_swap_bytes, cpus, pids, .. } = config.limits;
    let mut arguments = SqliteArguments::default();
    let mut add_all = || -> Result<(), sqlx::error::BoxDynError> {
        arguments.add(to_json(events))?;
        arguments.add(id.as_str().to_owned())?;
        arguments.add(config.name.as_str().to_owned())?;
        arguments.add(config.image.as_str().to_owned())?;
        arguments.add(config_json(config)?)?;
        arguments.add(state.as_str())?;
        arguments.add(wanted.as_str())?;
        arguments.add(*uid_base)?;
        arguments.add(*created_at_ms)?;
        arguments.add(*started_at_ms)?;
        for process in [init, monitor] {
            arguments.add(process.map(|process| process.pid))?;
            arguments.add(process.map(|process| i64::try_from(process.start_ticks)).transpose()?)?;
        }
        arguments.add(exit.as_ref().map(serde_json::to_string).transpose()?)?;
        arguments.add(*restarts)?;
        arguments.add(without_ids.as_deref())?;
        arguments.add(image_digest.as_deref())?;
        arguments.add(memory_bytes.map(i64::try_from).transpose()?)?;
        arguments.add(memory_swap_bytes.map(i64::try_from).transpose()?)?;
        arguments.add(cpus)?;
        arguments.add(pids)?;
        arguments.add(further_json(&config.limits)?)
    };
    add_all().map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

/// What has a column or a table of its own, and so is not in the JSON of the column `config`.
const OWN_COLUMNS: [&str; 3] = ["name", "image", "limits"];

fn config_json(config: &Config) -> Result<String, serde_json::Error> {
    let mut value = serde_json::to_value(config)?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !OWN_COLUMNS.contains(&name.as_str()));
    }
    serde_json::to_string(&value)
}

/// The limits that have a column of their own, and so are not in the JSON of the column `further`.
const OWN_LIMITS: [&str; 4] = ["memory_bytes", "memory_swap_bytes", "cpus", "pids"];

fn further_json(limits: &Limits) -> Result<String, serde_json::Error> {
    let mut value = serde_json::to_value(limits)?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !OWN_LIMITS.contains(&name.as_str()));
    }
    serde_json::to_string(&value)
}

fn read(row: &SqliteRow) -> Result<Container, Error> {
    let statement = Error::statement("read containers");
    let text = |column| row.try_get::<String, _>(column).map_err(&statement);
    let number = |column| row.try_get::<Option<i64>, _>(column).map_err(&statement);
    let id = text("id")?;
    let process = |pid, ticks| -> Result<Option<ProcessRef>, Error> {
        let start_ticks = whole(number(ticks)?, &id, ticks)?;
        Ok(whole(number(pid)?, &id, pid)?.zip(start_ticks).map(|(pid, start_ticks)| ProcessRef { pid, start_ticks }))
    };
    let exit: Option<String> = row.try_get("exit").map_err(&statement)?;
    Ok(Container {
        id: id.parse().map_err(Error::row("containers", id.clone(), "id"))?,
        config: read_config(row, &id)?,
        state: word(text("state")?, &id, "state")?,
        wanted: word(text("wanted")?, &id, "wanted")?,
        image_digest: row.try_get("image_digest").map_err(&statement)?,
        uid_base: whole(number("uid_base")?, &id, "uid_base")?,
        without_ids: row.try_get("without_ids").map_err(&statement)?,
        created_at_ms: row.try_get("created_at_ms").map_err(&statement)?,
        started_at_ms: number("started_at_ms")?,
        init: process("init_pid", "init_start_ticks")?,
        monitor: process("monitor_pid", "monitor_start_ticks")?,
        exit: exit.map(|json| from_json::<Exit>(&json, &id, "exit")).transpose()?,
        restarts: whole(number("restarts")?, &id, "restarts")?.unwrap_or_default(),
    })
}

fn read_config(row: &SqliteRow, id: &str) -> Result<Config, Error> {
    let statement = Error::statement("read containers");
    let text = |column| row.try_get::<String, _>(column).map_err(&statement);
    let number = |column| row.try_get::<Option<i64>, _>(column).map_err(&statement);
    let further: Option<String> = row.try_get("further").map_err(&statement)?;
    let further: Limits = further.map_or(Ok(Limits::default()), |json| from_json(&json, id, "further"))?;
    let limits = Limits {
        memory_bytes: whole(number("memory_bytes")?, id, "memory_bytes")?,
        memory_swap_bytes: whole(number("memory_swap_bytes")?, id, "memory_swap_bytes")?,
        cpus: row.try_get("cpus").map_err(&statement)?,
        pids: whole(number("pids")?, id, "pids")?,
        ..further
    };
    let mut config: serde_json::Value = from_json(&text("config")?, id, "config")?;
    if let Some(fields) = config.as_object_mut() {
        fields.insert("name".into(), text("name")?.into());
        fields.insert("image".into(), text("image")?.into());
    }
    let config: Config = serde_json::from_value(config).map_err(Error::row("containers", id.to_owned(), "config"))?;
    Ok(Config { limits, ..config })
}

/// An integer of the database as one of the model: never wrapped around.
fn whole<T: TryFrom<i64>>(number: Option<i64>, id: &str, column: &'static str) -> Result<Option<T>, Error>
where
    T::Error: std::error::Error + Send + Sync + 'static,
{
    number.map(T::try_from).transpose().map_err(Error::row("containers", id.to_owned(), column))
}

/// An enum of the model by its word.
trait Word: Sized + Copy + 'static {
    const ALL: &'static [Self];
    fn word(self) -> &'static str;
}

impl Word for State {
    const ALL: &'static [Self] = &State::ALL;
    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for Wanted {
    const ALL: &'static [Self] = &[Wanted::Running, Wanted::Stopped, Wanted::Deleted];
    fn word(self) -> &'static str {
        self.as_str()
    }
}

fn word<T: Word>(text: String, id: &str, column: &'static str) -> Result<T, Error> {
    let found = T::ALL.iter().copied().find(|value| value.word() == text);
    found.ok_or_else(|| Error::word("containers", id.to_owned(), column, text))
}

fn from_json<T: DeserializeOwned>(json: &str, id: &str, column: &'static str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(Error::row("containers", id.to_owned(), column))
}
