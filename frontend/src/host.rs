//! The machine: what it has, and what its kernel can do for a container.

use askama::Template;
use belljar_model::Host;
use belljar_model::host::{Space, Support};
use belljar_model::usage::Pressure;

use crate::frame::{Page, Section};
use crate::{Frame, figure};

/// The page `/host`.
#[derive(Template)]
#[template(path = "host.html")]
pub struct HostPage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// What was looked up.
    pub host: &'a Host,
    /// How long something waited on the whole machine; `None` where its kernel does not measure it.
    pub pressure: Option<&'a Pressure>,
    /// How many containers are alive.
    pub alive: usize,
    /// Version of Belljar.
    pub version: &'a str,
}

impl Page for HostPage<'_> {
    fn title(&self) -> String {
        "Host".into()
    }

    fn section(&self) -> Section {
        Section::Host
    }
}

impl<'a> HostPage<'a> {
    fn waiting(&self) -> Vec<figure::Waiting> {
        figure::waiting(self.pressure.copied())
    }

    fn space(&self) -> Option<&'a Space> {
        self.host.space.as_ref()
    }

    /// What the kernel can or cannot do, by name.
    fn supports(&self) -> [(&'static str, &'a Support); 3] {
        let host = self.host;
        [("User namespaces", &host.user_namespaces), ("Idmapped mounts", &host.idmapped_mounts), ("Own layers", &host.own_layers)]
    }
}
