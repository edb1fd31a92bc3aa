//! Limits against the host: what it can enforce, on which disks, and how a container that is alive gets others.

use belljar_model::container::ProcessRef;
use belljar_model::limits::{HostCapacity, IoLimit};
use belljar_model::{Config, Container, ContainerId, ContainerName, Host, Invalid, Limits};
use belljar_runtime::Bundle;
use belljar_runtime::bundle::{Durable, write_whole};
use belljar_runtime::cgroup::disks::{self, Disk};
use belljar_runtime::cgroup::everybody::{self, Everybody};
use belljar_runtime::cgroup::update::Refused;
use belljar_runtime::cgroup::{Cgroup, Resources, limits, present, support, update};
use belljar_runtime::spec::Rlimit;
use belljar_runtime::spec::container::{device_rules, rlimits};

use crate::shared::Shared;
use crate::{Error, Supervisor};

/// What this host has at most.
pub(crate) fn capacity(host: &Host) -> HostCapacity {
    HostCapacity { memory_bytes: host.memory_bytes, cpus: host.cpus, pids: host.pids }
}

/// Refuses what this host cannot enforce, by its field and with the reason. What was limited just so `before` is left alone.
pub(crate) fn check(shared: &Shared, asked: &Limits, before: &Limits) -> Result<(), Invalid> {
    if *asked == *before {
        return Ok(());
    }
    support::check(asked, before, &crate::host::limits(shared, &shared.hierarchies()))?;
    present::check(asked, before)?;
    // A disk that went away since does not stand in the way of another limit.
    if asked.io == before.io { Ok(()) } else { disks_of(asked).map(drop) }
}

impl Supervisor {
    /// What the container is limited to as the kernel has it; `None` where it is not alive.
    pub async fn enforced(&self, id: &ContainerId) -> Result<Option<Limits>, Error> {
        self.inspect(id, enforced).await
    }
}

fn enforced(shared: &Shared, container: &Container) -> Option<Limits> {
    container.state.is_alive().then(|| {
        let layer = crate::quota::of(shared, &container.id);
        let (disk_bytes, disk_inodes) = (layer.and_then(|layer| layer.bytes_max), layer.and_then(|layer| layer.inodes_max));
        Limits { disk_bytes, disk_inodes, ..shared.cgroup(&container.id).limits() }
    })
}

/// The disks of `limits.io`, in the same order, by their numbers now.
pub(crate) fn disks_of(asked: &Limits) -> Result<Vec<Disk>, Invalid> {
    let find = |(index, limit): (usize, &IoLimit)| {
        disks::find(&limit.device).map_err(|problem| Invalid::new(format!("limits.io[{index}].device"), problem))
    };
    let found: Vec<Disk> = asked.io.iter().enumerate().map(find).collect::<Result<_, _>>()?;
    limits::check_disks(asked, &found)?;
    Ok(found)
}

/// A container that is alive, as far as its limits go.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    name: ContainerName,
    /// What holds for it now.
    config: Config,
    cgroup: Cgroup,
    /// Whose limits its processes would have if nobody had asked for any.
    monitor: Option<ProcessRef>,
    bundle: Bundle,
}

impl Live {
    pub(crate) fn new(shared: &Shared, container: &Container, bundle: &Bundle) -> Self {
        Self {
            name: container.config.name.clone(),
            config: container.config.clone(),
            cgroup: shared.cgroup(&container.id),
            monitor: container.monitor,
            bundle: bundle.clone(),
        }
    }

    /// The same once another config holds.
    pub(crate) fn with(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// Brings it from what holds now to another config. All or nothing.
    pub(crate) fn become_like(&self, new: &Config) -> Result<(), Error> {
        let (everybody, before) = (self.everybody(&self.config, new), self.everybody(new, &self.config));
        self.limit(&self.config, new)?;
        if let Err(source) = everybody.set(&self.cgroup) {
            self.limit(new, &self.config)?;
            let field = if source.subject.contains("oom_score_adj") { "oom_score_adj" } else { "ulimits" };
            return Err(self.refused(Some(field.to_owned()), source));
        }
        if everybody != Everybody::default()
            && let Err(error) = self.write_down(new)
        {
            drop(before.set(&self.cgroup));
            self.limit(new, &self.config)?;
            return Err(error);
        }
        Ok(())
    }

    /// The cgroup: limits and devices.
    fn limit(&self, from: &Config, to: &Config) -> Result<(), Error> {
        if from.limits == to.limits && from.devices == to.devices {
            return Ok(());
        }
        let mut change = if from.limits.io == to.limits.io {
            // Whatever became of the disks: the kernel has what it has.
            let bare = |config: &Config| Limits { io: Vec::new(), ..config.limits.clone() };
            let (from, to) = (bare(from), bare(to));
            limits::change(limits::Asked { limits: &from, disks: &[] }, limits::Asked { limits: &to, disks: &[] }, &self.cgroup)
        } else {
            // The disks that the kernel limits now: what a path named before, it may name no more.
            let held = Limits { io: self.cgroup.limits().io, ..from.limits.clone() };
            let old: Vec<Option<Disk>> = held.io.iter().map(|limit| disks::find(&limit.device).ok()).collect();
            let new: Vec<Option<Disk>> = disks_of(&to.limits)?.into_iter().map(Some).collect();
            let (from, to) = (limits::Asked { limits: &held, disks: &old }, limits::Asked { limits: &to.limits, disks: &new });
            limits::change(from, to, &self.cgroup)
        };
        if let Some(memory) = &mut change.memory {
            // v2 would kill where v1 refuses: nobody asks for that.
            memory.check_before_update = Some(true);
        }
        let mut current = Resources::default();
        if from.devices != to.devices {
            (current.devices, change.devices) = (self.rules(from)?, self.rules(to)?);
        }
        match update(&change, &current, &self.cgroup) {
            Ok(_) => Ok(()),
            Err(Refused::Invalid(invalid)) => Err(limits::named(invalid).into()),
            Err(Refused::Kernel(source)) => Err(self.refused(limits::field_of(&source), source)),
        }
    }

    /// Rules for devices. Only those that it was started with have a node inside.
    fn rules(&self, config: &Config) -> Result<Vec<belljar_runtime::cgroup::devices::Rule>, Error> {
        let spec = crate::inspect::written_spec(&self.bundle.spec());
        let started = spec.map(|spec| spec.devices).unwrap_or_default();
        type Asked = belljar_model::setting::Device;
        let is_another = |asked: &Asked| self.config.devices.iter().any(|now| now.path() == asked.path() && now.source != asked.source);
        let find = |asked: &Asked| started.iter().find(|device| device.path == asked.path() && !is_another(asked)).cloned();
        let found = config.devices.iter().enumerate().map(|(index, asked)| {
            let problem = "is made when a container starts: stop it first, or keep to the devices that it was started with";
            find(asked).ok_or_else(|| Invalid::new(format!("devices[{index}].path"), problem))
        });
        let devices: Vec<_> = found.collect::<Result<_, _>>()?;
        Ok(device_rules(config, &devices))
    }

    /// What every process has to be told. What is asked no more is what the monitor has.
    fn everybody(&self, from: &Config, to: &Config) -> Everybody {
        let was = rlimits(from);
        let mut told: Vec<Rlimit> = rlimits(to).into_iter().filter(|limit| !was.contains(limit)).collect();
        let gone = was.iter().filter(|limit| !to.ulimits.contains_key(&limit.resource.to_ascii_lowercase()));
        let monitor = self.monitor.map(|monitor| monitor.pid);
        told.extend(gone.filter_map(|limit| everybody::inherited(monitor?, &limit.resource)));
        let score = (from.oom_score_adj != to.oom_score_adj).then(|| to.oom_score_adj.or_else(|| everybody::inherited_score(monitor?)));
        Everybody { rlimits: told, oom_score_adj: score.flatten() }
    }

    /// A further program is as the spec says.
    fn write_down(&self, new: &Config) -> Result<(), Error> {
        let failed = |error: belljar_linux::Error| Error::failed("write down the limits of", self.name.to_string(), error);
        let path = self.bundle.spec();
        let Some(mut spec) = crate::inspect::written_spec(&path) else { return Ok(()) };
        (spec.process.rlimits, spec.process.oom_score_adj) = (rlimits(new), new.oom_score_adj);
        let json = serde_json::to_vec(&spec).map_err(|error| failed(belljar_linux::Error::from_io("write", "spec", &error.into())))?;
        write_whole(&path, &json, Durable::No).map_err(failed)
    }

    fn refused(&self, field: Option<String>, source: belljar_linux::Error) -> Error {
        Error::LimitRefused { name: self.name.clone(), field, source }
    }
}
