//! Images of a supervisor without root: what archives make, and what tag, delete and prune leave.

mod names;
mod pull;

use std::io::Cursor;

use tokio::io::AsyncWriteExt;

use crate::testing::Bench;

/// Bytes of a block of an archive.
const BLOCK: usize = 512;

/// An archive of one folder, which belongs to whoever runs this.
fn archive() -> Vec<u8> {
    archive_named("d")
}

/// The same, of a folder of this name.
fn archive_named(name: &str) -> Vec<u8> {
    let mut header = [0; BLOCK];
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    for (start, text) in [(0, format!("{name}/")), (100, "755".to_owned()), (108, format!("{uid:o}")), (116, format!("{gid:o}"))] {
        header[start..start + text.len()].copy_from_slice(text.as_bytes());
    }
    header[148..156].fill(b' ');
    header[156] = b'5';
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    [&header[..], &[0; 2 * BLOCK]].concat()
}

#[tokio::test]
async fn whoever_sends_an_archive_slowly_is_in_nobodys_way() {
    let bench = Bench::new().await;
    let (slow, fast) = ("slow".parse().expect("a name"), "fast".parse().expect("a name"));
    // A pipe this short is written to only as it is read: what follows happens while the archive is under way.
    let (mut client, pipe) = tokio::io::duplex(BLOCK / 8);
    let import = tokio::spawn({
        let supervisor = bench.supervisor.clone();
        async move { supervisor.import_image(Some(slow), pipe).await }
    });
    let archive = archive();
    client.write_all(&archive[..BLOCK]).await.expect("read");
    bench.supervisor.import_image(Some(fast), Cursor::new(archive.clone())).await.expect("imported");
    bench.supervisor.delete_image("fast").await.expect("deleted");
    client.write_all(&archive[BLOCK..]).await.expect("read");
    drop(client);
    let image = import.await.expect("ended").expect("imported");
    let image = bench.supervisor.find_image(image.name.as_str()).expect("an image").image;
    let layers = bench.shared().images.folder.layers(&image).expect("layers");
    assert!(std::path::Path::new(&layers[0].path).join("d").is_dir(), "the same layer was deleted meanwhile, and is there again");
}
