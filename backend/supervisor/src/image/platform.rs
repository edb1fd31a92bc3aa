//! Whether this machine can run what an image was made for.
//!
//! Its own processor's programs, those of the older processor that it also is, and whatever somebody has registered an emulator for
//! (`binfmt_misc`). What an image does not say is not asked.

use std::path::Path;

use belljar_images::config::host_platform;
use belljar_model::image::Platform;
use belljar_model::{Image, Invalid};

/// Where the kernel tells which programs it has interpreters for.
const INTERPRETERS: &str = "/proc/sys/fs/binfmt_misc";

/// Processors whose programs another one runs too: the other one, and what it also is.
const ALSO: [(&str, &str); 2] = [("amd64", "386"), ("arm64", "arm")];

/// What emulators call the processors of images, where that is something else.
const CALLED: [(&str, &str); 5] =
    [("amd64", "x86_64"), ("arm64", "aarch64"), ("386", "i386"), ("mips64le", "mips64el"), ("mipsle", "mipsel")];

/// Refuses an image whose programs cannot be run here.
pub(super) fn check(image: &Image) -> Result<(), Invalid> {
    check_on(image, &host_platform(), Path::new(INTERPRETERS))
}

fn check_on(image: &Image, host: &Platform, interpreters: &Path) -> Result<(), Invalid> {
    let Some(made_for) = &image.contents.platform else { return Ok(()) };
    let is_also = ALSO.contains(&(host.architecture.as_str(), made_for.architecture.as_str()));
    let is_own = made_for.architecture.is_empty() || made_for.architecture == host.architecture || is_also;
    if made_for.os == host.os && (is_own || is_emulated(&made_for.architecture, interpreters)) {
        return Ok(());
    }
    let name = &image.name;
    let advice = match name.reference() {
        Some(_) => format!("pull the one for this machine (belljar pull --platform {host} {name}), if there is one"),
        None => "use one that is made for this machine".to_owned(),
    };
    Err(Invalid::new("image", format!("{name} is made for {made_for}, and this machine is {host}, so its programs cannot run: {advice}")))
}

/// Whether somebody registered an emulator of this processor, and it is switched on.
fn is_emulated(architecture: &str, interpreters: &Path) -> bool {
    let called = CALLED.iter().find(|(ours, _)| *ours == architecture).map_or(architecture, |(_, called)| called);
    let is_plain = !called.is_empty() && called.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_plain && std::fs::read_to_string(interpreters.join(format!("qemu-{called}"))).is_ok_and(|text| text.starts_with("enabled"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use belljar_model::image::{Contents, ImageKind};

    use super::*;

    fn image(platform: Option<&str>) -> Image {
        Image {
            name: "registry.example/web:1".parse().expect("a name"),
            kind: ImageKind::Oci,
            digest: String::new(),
            manifest_digest: None,
            size_bytes: 0,
            entries: 0,
            created_at_ms: 0,
            contents: Arc::new(Contents { platform: platform.map(|text| text.parse().expect("a platform")), ..Contents::default() }),
        }
    }

    #[test]
    fn what_this_machine_cannot_run_is_refused_in_words() {
        let interpreters = tempfile::tempdir().expect("a folder");
        let check =
            |made_for: Option<&str>, host: &str| check_on(&image(made_for), &host.parse().expect("a platform"), interpreters.path());
        for (made_for, host) in [
            (None, "linux/amd64"),
            (Some("linux/amd64"), "linux/amd64"),
            (Some("linux/amd64/v2"), "linux/amd64"),
            (Some("linux/386"), "linux/amd64"),
            (Some("linux/arm/v7"), "linux/arm64"),
            (Some("linux/arm64/v8"), "linux/arm64"),
        ] {
            assert_eq!(check(made_for, host), Ok(()), "{made_for:?} on {host}");
        }
        for (made_for, host) in [("linux/arm64", "linux/amd64"), ("linux/amd64", "linux/arm64"), ("windows/amd64", "linux/amd64")] {
            let invalid = check(Some(made_for), host).expect_err("refused");
            let words = format!("registry.example/web:1 is made for {made_for}, and this machine is {host}");
            assert!(invalid.field == "image" && invalid.problem.contains(&words), "{invalid}");
            assert!(invalid.problem.contains(&format!("pull --platform {host} registry.example/web:1")), "{invalid}");
        }
        std::fs::write(interpreters.path().join("qemu-aarch64"), "disabled\n").expect("written");
        assert!(check(Some("linux/arm64"), "linux/amd64").is_err());
        std::fs::write(interpreters.path().join("qemu-aarch64"), "enabled\ninterpreter /usr/bin/qemu-aarch64\n").expect("written");
        assert_eq!(check(Some("linux/arm64"), "linux/amd64"), Ok(()));
        assert!(!is_emulated("../../x", interpreters.path()) && !is_emulated("", interpreters.path()));
    }
}
