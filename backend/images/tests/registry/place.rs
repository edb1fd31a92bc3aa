//! A folder of images, a client that has little patience, and what is checked after every pull.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use belljar_images::config::host_platform;
use belljar_images::registry::{Client, Credentials, Kind, Patience, Proxies, PullError, Pulled, Settings, Snapshot, Wanted};
use belljar_images::{Digest, Images};
use belljar_testbed::fake::{Content, Fake, Layer};
use tokio::sync::watch;

use crate::bed::{file, tar};

pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub(crate) const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A layer of one file, sent with gzip.
pub(crate) fn layer(name: &str, content: impl AsRef<[u8]>) -> Layer {
    let archive = tar(&[file(name, content)]);
    Layer::new(&archive, gzip(&archive), GZIP)
}

/// Bytes that no compression makes smaller.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// A place for images.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) images: Images,
    pub(crate) client: Client,
    runtime: tokio::runtime::Runtime,
    pub(crate) credentials: Option<Credentials>,
    /// Every picture of the last pull's progress.
    pub(crate) shown: Arc<Mutex<Vec<Snapshot>>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    /// One that believes this server, and has this way through a proxy.
    pub(crate) fn believing(fake: &Fake, proxies: Proxies) -> Self {
        Self::with(Settings { authorities: vec![fake.authority().unwrap()], proxies, ..Settings::default() })
    }

    fn with(settings: Settings) -> Self {
        let patience = Patience { pause_first: Duration::from_millis(4), stall: Duration::from_millis(400), ..Patience::default() };
        Self::patient(Settings { patience, ..settings })
    }

    pub(crate) fn patient(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::open(folder.path().join("images")).unwrap();
        let client = Client::new(images.clone(), settings);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { folder, images, client, runtime, credentials: None, shown: Arc::default() }
    }

    pub(crate) fn wanted(&self, name: &str) -> Wanted {
        Wanted { reference: name.parse().unwrap(), platform: host_platform(), credentials: self.credentials.clone() }
    }

    /// Pulls; after a failure nothing may be left.
    pub(crate) fn try_pull(&self, name: &str) -> Result<Pulled, PullError> {
        self.try_pull_for(&self.wanted(name))
    }

    pub(crate) fn try_pull_for(&self, wanted: &Wanted) -> Result<Pulled, PullError> {
        let before = self.left();
        let (progress, mut pictures) = watch::channel(Snapshot::default());
        let shown = self.shown.clone();
        shown.lock().unwrap().clear();
        let pulled = self.runtime.block_on(async {
            let watching = tokio::spawn(async move {
                while pictures.changed().await.is_ok() {
                    let picture = pictures.borrow_and_update().clone();
                    shown.lock().unwrap().push(picture);
                }
            });
            let pulled = self.client.pull(wanted, &progress).await;
            drop(progress);
            watching.await.unwrap();
            pulled
        });
        if pulled.is_err() {
            assert_eq!(self.left(), before, "a failed pull left something");
        }
        assert!(self.left().iter().all(|path| !path.starts_with("tmp")), "something half-done is left: {:?}", self.left());
        pulled
    }

    /// Pulls what must come.
    #[track_caller]
    pub(crate) fn pull(&self, name: &str) -> Pulled {
        self.try_pull(name).unwrap_or_else(|error| panic!("it was not pulled: {}", chain(&error)))
    }

    /// Pulls what must not come, for this reason, told by these words.
    #[track_caller]
    pub(crate) fn refuses(&self, name: &str, kind: Kind, words: &str) {
        match self.try_pull(name) {
            Ok(pulled) => panic!("it was pulled: {pulled:?}"),
            Err(error) => {
                let said = chain(&error);
                assert!(said.contains(words), "{said:?} does not say {words:?}");
                assert_eq!(error.kind(), kind, "{said}");
                let whole: belljar_model::Reference = name.parse().unwrap();
                assert!(said.contains(whole.repository()) && said.contains(whole.registry()), "{said:?} does not name what was asked");
            }
        }
    }

    pub(crate) fn resolve(&self, name: &str) -> Result<Digest, PullError> {
        self.runtime.block_on(self.client.resolve(&self.wanted(name)))
    }

    /// Runs whatever is asynchronous.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A path beside the folder of images, or in it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// What a file of a layer holds.
    pub(crate) fn content(&self, diff_id: &str, name: &str) -> Vec<u8> {
        let path: PathBuf = self.folder.path().join("images/layers").join(diff_id.trim_start_matches("sha256:")).join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What lies in the folder of images.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in ["layers", "skeletons", "tmp"] {
            let entries = std::fs::read_dir(self.folder.path().join("images").join(folder)).unwrap();
            left.extend(entries.map(|entry| format!("{folder}/{}", entry.unwrap().file_name().into_string().unwrap())));
        }
        left.sort();
        left
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said.push_str(": ");
        said.push_str(&cause.to_string());
        source = cause.source();
    }
    said
}

/// An honest registry with one image.
pub(crate) fn honest(content: Content) -> Fake {
    Fake::start(move |request| content.reply(request))
}
