//! One image and one volume, live: each as its page shows it, when it is otherwise.

use belljar_frontend::{images, volumes};
use belljar_model::VolumeName;
use belljar_supervisor::{Error, Supervisor};

use super::{Part, Parts, unrendered};
use crate::fault::Answer;

/// What the page of an image was sent last.
pub(super) struct Image {
    /// Its name, or its id.
    key: String,
    html: String,
}

impl Image {
    pub(super) fn new(key: String) -> Self {
        Self { key, html: String::new() }
    }

    pub(super) fn look(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        let summary = match supervisor.find_image(&self.key) {
            Ok(summary) => summary,
            Err(Error::NotFound { .. }) => {
                parts.push_back(Part::Gone(images::HEAD_ID.to_owned()));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        send(images::image(&summary).map_err(unrendered)?, &mut self.html, parts);
        Ok(())
    }
}

/// What the page of a volume was sent last.
pub(super) struct Volume {
    name: VolumeName,
    path: String,
    html: String,
}

impl Volume {
    pub(super) fn new(name: VolumeName, path: String) -> Self {
        Self { name, path: path.trim_matches('/').to_owned(), html: String::new() }
    }

    pub(super) async fn look(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        // As far as it is known how much is in it: nobody walks through a disk each second.
        let kept = supervisor.volumes().into_iter().find(|kept| kept.volume.name == self.name);
        let Some(kept) = kept else {
            parts.push_back(Part::Gone(volumes::BODY_ID.to_owned()));
            return Ok(());
        };
        // A folder that is gone leaves what was shown of it.
        if let Ok(files) = supervisor.volume_files(&self.name, &self.path).await {
            send(volumes::body(&kept, &self.path, &files).map_err(unrendered)?, &mut self.html, parts);
        }
        Ok(())
    }
}

fn send(html: String, sent: &mut String, parts: &mut Parts) {
    if html != *sent {
        parts.push_back(Part::Html(html.clone()));
        *sent = html;
    }
}
