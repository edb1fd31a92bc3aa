//! What is known of the images, in memory: by digest, and by name. Pure: it must never know disk, database or clock.
//!
//! An image is found by its whole id, by any form of one of its names, or by the beginning of its id that fits no other; in this
//! order, which is Docker's.

use std::collections::{BTreeMap, BTreeSet};

use belljar_model::image::Summary;
use belljar_model::{Image, ImageName};
use belljar_store::ImageChange;

use crate::Error;

/// Shortest beginning of an id that finds its image.
const PREFIX_CHARS_MIN: usize = 4;

/// Every image but `host`.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    /// By digest; the name of each is not looked at.
    images: BTreeMap<String, Image>,
    /// Digests by name.
    names: BTreeMap<ImageName, String>,
}

/// How an image was called by whoever found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum By {
    /// By this name of its own.
    Name(ImageName),
    /// By its id, or the beginning of it.
    Id,
}

impl Rows {
    /// The rows as they were read: an image once for each of its names, or once under its digest.
    pub(super) fn new(images: Vec<Image>) -> Self {
        let mut rows = Self::default();
        for image in images {
            if image.name.id().is_none() {
                rows.names.insert(image.name.clone(), image.digest.clone());
            }
            rows.images.insert(image.digest.clone(), image);
        }
        rows
    }

    /// Every image under each of its names, by name; then those without one.
    pub(super) fn all(&self) -> Vec<Image> {
        let named = self.names.iter().filter_map(|(name, digest)| self.named(name, digest));
        let nameless = self.images.keys().filter(|digest| self.names_of(digest).is_empty());
        named.chain(nameless.filter_map(|digest| self.with(digest))).collect()
    }

    /// The image with this digest, under its first name, or its digest where it has none.
    pub(super) fn with(&self, digest: &str) -> Option<Image> {
        let image = self.images.get(digest)?;
        let name = self.names_of(digest).into_iter().next().or_else(|| digest.parse().ok())?;
        Some(Image { name, ..image.clone() })
    }

    /// Every image once, by digest.
    pub(super) fn each(&self) -> impl Iterator<Item = &Image> {
        self.images.values()
    }

    pub(super) fn digest_of(&self, name: &ImageName) -> Option<&String> {
        self.names.get(name)
    }

    /// All names of the image with this digest, in order.
    pub(super) fn names_of(&self, digest: &str) -> Vec<ImageName> {
        self.names.iter().filter(|(_, of)| *of == digest).map(|(name, _)| name.clone()).collect()
    }

    fn named(&self, name: &ImageName, digest: &str) -> Option<Image> {
        Some(Image { name: name.clone(), ..self.images.get(digest)?.clone() })
    }

    /// The image that `key` means, under the name that was meant.
    pub(super) fn find(&self, key: &str) -> Result<(Image, By), Error> {
        let name = key.parse::<ImageName>().ok();
        if let Some(image) = name.as_ref().and_then(ImageName::id).and_then(|id| self.with(id)) {
            return Ok((image, By::Id));
        }
        if let Some(image) = name.and_then(|name| self.by_name(&name)) {
            let by = By::Name(image.name.clone());
            return Ok((image, by));
        }
        let digits = key.strip_prefix("sha256:").unwrap_or(key);
        if digits.len() < PREFIX_CHARS_MIN || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(not_found(key));
        }
        let beginning = format!("sha256:{digits}");
        let mut fitting = self.images.range(beginning.clone()..).take_while(|(digest, _)| digest.starts_with(&beginning));
        match (fitting.next(), fitting.next()) {
            (Some((digest, _)), None) => self.with(digest).map(|image| (image, By::Id)).ok_or_else(|| not_found(key)),
            (Some(_), Some(_)) => Err(Error::Ambiguous { key: key.to_owned(), what: "image" }),
            (None, _) => Err(not_found(key)),
        }
    }

    /// By a name as it is; or by the digest of its manifest, in the repository of one of its names: then a tag beside it says nothing.
    fn by_name(&self, name: &ImageName) -> Option<Image> {
        if let Some(digest) = self.names.get(name) {
            return self.named(name, digest);
        }
        let reference = name.reference()?;
        let wanted = reference.digest()?;
        let of_repository = |other: &ImageName| {
            let other = other.reference();
            other.is_some_and(|other| (other.registry(), other.repository()) == (reference.registry(), reference.repository()))
        };
        let manifest = |digest: &String| self.images.get(digest).and_then(|image| image.manifest_digest.as_deref());
        let exact = ImageName::from(&reference.with_digest(wanted));
        let found = self.names.get_key_value(&exact);
        let found = found.or_else(|| self.names.iter().find(|(name, digest)| manifest(digest) == Some(wanted) && of_repository(name)));
        found.and_then(|(name, digest)| self.named(name, digest))
    }

    /// How many images have each layer, by the digest of its archive.
    fn sharers(&self) -> BTreeMap<&str, usize> {
        let mut sharers = BTreeMap::new();
        for image in self.images.values() {
            for layer in layers(image) {
                *sharers.entry(layer).or_default() += 1;
            }
        }
        sharers
    }

    /// Layers of these images that no other image has, with their bytes.
    pub(super) fn layers_of_only(&self, digests: &BTreeSet<String>) -> BTreeMap<String, u64> {
        let (gone, kept): (Vec<_>, Vec<_>) = self.images.iter().partition(|(digest, _)| digests.contains(*digest));
        let needed: BTreeSet<&str> = kept.iter().flat_map(|(_, image)| layers(image)).collect();
        let theirs = gone.iter().flat_map(|(_, image)| image.contents.layers.iter());
        theirs.filter(|layer| !needed.contains(layer.diff_id.as_str())).map(|layer| (layer.diff_id.clone(), layer.size_bytes)).collect()
    }

    /// Whether an image has this layer.
    pub(super) fn uses(&self, layer: &str) -> bool {
        self.images.values().any(|image| layers(image).contains(layer))
    }

    /// An image beside all others.
    pub(super) fn summary(&self, image: Image, containers: Vec<String>) -> Summary {
        let sharers = self.sharers();
        let bytes: BTreeMap<&str, u64> = image.contents.layers.iter().map(|layer| (layer.diff_id.as_str(), layer.size_bytes)).collect();
        let own = |layer: &&str| sharers.get(layer).copied().unwrap_or_default() <= 1;
        let own_bytes = bytes.iter().filter(|(layer, _)| own(layer)).map(|(_, bytes)| bytes).sum();
        let shared_bytes = bytes.iter().filter(|(layer, _)| !own(layer)).map(|(_, bytes)| bytes).sum();
        Summary { names: self.names_of(&image.digest), containers, own_bytes, shared_bytes, image }
    }

    /// Does what the database does with the same change.
    pub(super) fn apply(&mut self, change: &ImageChange) {
        if let Some((image, _)) = &change.put {
            let created_at_ms = self.images.get(&image.digest).map_or(image.created_at_ms, |before| before.created_at_ms);
            self.images.insert(image.digest.clone(), Image { created_at_ms, ..image.clone() });
        }
        self.names.retain(|name, _| !change.unname.contains(name));
        self.names.extend(change.name.iter().cloned());
        self.images.retain(|digest, _| !change.remove.contains(digest));
    }
}

/// The layers of an image, each once.
pub(super) fn layers(image: &Image) -> BTreeSet<&str> {
    image.contents.layers.iter().map(|layer| layer.diff_id.as_str()).collect()
}

pub(super) fn not_found(key: &str) -> Error {
    Error::NotFound { what: "image", key: key.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use belljar_model::image::{Contents, ImageKind, LayerInfo};

    use super::*;
    use crate::ErrorKind;

    fn digest(beginning: &str) -> String {
        format!("sha256:{beginning:0<64}")
    }

    fn image(name: &str, id: &str, layers: &[(&str, u64)]) -> Image {
        let layer = |(diff_id, size_bytes): &(&str, u64)| LayerInfo {
            diff_id: digest(diff_id),
            digest: None,
            size_bytes: *size_bytes,
            entries: 1,
            command: None,
        };
        Image {
            name: name.parse().expect("a name"),
            kind: ImageKind::Oci,
            digest: digest(id),
            manifest_digest: Some(digest(&format!("f{id}"))),
            size_bytes: 0,
            entries: 0,
            created_at_ms: 0,
            contents: Arc::new(Contents { layers: layers.iter().map(layer).collect(), ..Contents::default() }),
        }
    }

    fn rows() -> Rows {
        Rows::new(vec![
            image("web", "aaaa1", &[("1", 10), ("2", 5)]),
            image("registry.example/web:2", "aaaa1", &[("1", 10), ("2", 5)]),
            image("db", "aaaa2", &[("1", 10), ("3", 7), ("3", 7)]),
            image(&digest("bbbb"), "bbbb", &[("4", 1)]),
            // Its name is the beginning of another's id.
            image("bbbb", "cccc", &[]),
        ])
    }

    #[test]
    fn an_image_is_found_by_every_form_of_its_name_and_by_its_id() {
        let rows = rows();
        let manifest = digest("faaaa1");
        for (key, name, id) in [
            ("web", "web:latest", "aaaa1"),
            ("docker.io/library/web:latest", "web:latest", "aaaa1"),
            ("registry.example/web:2", "registry.example/web:2", "aaaa1"),
            (&format!("web@{manifest}"), "web:latest", "aaaa1"),
            (&format!("web:old@{manifest}"), "web:latest", "aaaa1"),
            (&format!("registry.example/web@{manifest}"), "registry.example/web:2", "aaaa1"),
            (&digest("aaaa1"), "registry.example/web:2", "aaaa1"),
            ("aaaa1", "registry.example/web:2", "aaaa1"),
            ("sha256:aaaa2", "db:latest", "aaaa2"),
            ("bbbb", "bbbb:latest", "cccc"),
            ("bbbb0", &digest("bbbb"), "bbbb"),
        ] {
            let (image, _) = rows.find(key).expect(key);
            assert_eq!((image.name.as_str(), image.digest), (name, digest(id)), "{key}");
        }
        assert!(matches!(rows.find("aaaa1"), Ok((_, By::Id))));
        assert!(matches!(rows.find("web"), Ok((_, By::Name(name))) if name.as_str() == "web:latest"));
        for (key, kind) in [
            ("aaaa", ErrorKind::Conflict),
            ("aaa", ErrorKind::NotFound),
            ("web:2", ErrorKind::NotFound),
            ("", ErrorKind::NotFound),
            ("../x", ErrorKind::NotFound),
            ("AAAA1", ErrorKind::NotFound),
            (&format!("db@{manifest}"), ErrorKind::NotFound),
        ] {
            assert_eq!(rows.find(key).map_err(|error| error.kind()), Err(kind), "{key}");
        }
    }

    #[test]
    fn a_shared_layer_is_nobodys_own_and_one_that_comes_twice_counts_once() {
        let rows = rows();
        let sizes = |key: &str| {
            let summary = rows.summary(rows.find(key).expect(key).0, Vec::new());
            (summary.own_bytes, summary.shared_bytes, summary.names.len())
        };
        assert_eq!((sizes("web"), sizes("db"), sizes("bbbb0")), ((5, 10, 2), (7, 10, 1), (1, 0, 0)));
        let gone = |ids: &[&str]| -> Vec<u64> { rows.layers_of_only(&ids.iter().map(|id| digest(id)).collect()).into_values().collect() };
        assert_eq!((gone(&["aaaa1"]), gone(&["aaaa1", "aaaa2"])), (vec![5], vec![10, 5, 7]));
    }

    #[test]
    fn every_name_is_listed_and_so_is_what_lost_its_last_one() {
        let names = |rows: &Rows| rows.all().into_iter().map(|image| image.name.to_string()).collect::<Vec<_>>();
        let mut rows = rows();
        assert_eq!(names(&rows), ["bbbb:latest", "db:latest", "registry.example/web:2", "web:latest", &digest("bbbb")]);
        let moved = image("db", "dddd", &[]);
        let name = vec![(moved.name.clone(), moved.digest.clone())];
        rows.apply(&ImageChange { put: Some((moved, None)), name, remove: vec![digest("bbbb")], ..ImageChange::default() });
        assert_eq!(names(&rows), ["bbbb:latest", "db:latest", "registry.example/web:2", "web:latest", &digest("aaaa2")]);
    }
}
