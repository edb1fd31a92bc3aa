//! Images of other tools are read by us, and ours by them: buildah, podman, umoci, skopeo and Docker's own format.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use belljar_testbed::place::{Network, Place, succeeded};
use belljar_testbed::{Server, skip, wait_until};
use serde_json::Value;

use crate::bed::{bed, call, image, server};
use crate::{fixtures, installed};

/// A place of one's own for tools that keep images somewhere, or `None` after saying what is missing.
fn place(programs: &[&str]) -> Option<Place> {
    let missing = ["unshare", "nsenter", "ip"].iter().chain(programs).find(|program| installed(program).is_none());
    if let Some(missing) = missing {
        skip(missing);
        return None;
    }
    Some(Place::make(Network::Own))
}

/// Runs a shell script in the place, with everything that the tools keep in its folder.
#[track_caller]
fn script(place: &Place, script: &str) -> String {
    let folder = place.text("storage");
    place.file("storage.conf", &format!("[storage]\ndriver = \"vfs\"\nrunroot = \"/run/storage\"\ngraphroot = \"{folder}\"\n"));
    place.file("containers.conf", "[containers]\ndefault_ulimits = []\n");
    let mut shell = place.command("sh");
    shell.args(["-euc", script]);
    shell.env("CONTAINERS_STORAGE_CONF", place.path("storage.conf")).env("CONTAINERS_CONF", place.path("containers.conf"));
    succeeded(script, &shell.output().expect("a shell runs"))
}

/// A small tree in the place: a shell, and files that say who they belong to. `None` after saying that there is no static shell.
fn tree(place: &Place) -> Option<()> {
    let busybox = Path::new("/bin/busybox");
    if !Path::new("/usr/share/doc/busybox-static/copyright").exists() {
        skip("busybox-static");
        return None;
    }
    let root = place.folder("tree");
    for folder in ["bin", "etc", "data"] {
        fs::create_dir(root.join(folder)).expect("a folder can be made");
    }
    fs::copy(busybox, root.join("bin/busybox")).expect("busybox can be copied");
    for name in ["sh", "cat", "id", "stat"] {
        symlink("busybox", root.join("bin").join(name)).expect("a link can be made");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nkeeper:x:1000:1000::/:/bin/sh\n").expect("a file can be written");
    fs::write(root.join("etc/group"), "root:x:0:\nkeeper:x:1000:\n").expect("a file can be written");
    fs::write(root.join("etc/words"), "of the first layer\n").expect("a file can be written");
    fs::write(root.join("etc/secret"), "gone in the second\n").expect("a file can be written");
    fs::set_permissions(root.join("etc/secret"), fs::Permissions::from_mode(0o600)).expect("a mode can be set");
    Some(())
}

/// Imports an archive under a name, and runs what it says.
#[track_caller]
fn imported_and_run(server: &Server, name: &str, archive: &Path, words: &str) -> Value {
    call(server, &["images", "import", name, &archive.to_string_lossy()]);
    assert_eq!(call(server, &["run", "--rm", name]), words);
    assert_eq!(call(server, &["run", "--rm", name, "id", "-un"]), "keeper");
    assert_eq!(call(server, &["run", "--rm", name, "sh", "-c", "echo $GLASS; pwd"]), "jar\n/etc");
    image(server, name)
}

/// What the second layer of an image does not have.
const LOOK: &str = "test ! -e /etc/secret && echo gone";

#[test]
fn an_image_of_buildah_is_run_with_what_each_of_its_layers_changed() {
    let Some(place) = place(&["buildah"]) else { return };
    let Some(server) = server() else { return };
    let Some(()) = tree(&place) else { return };
    let archive = place.path("image.tar");
    script(
        &place,
        &format!(
            "one=$(buildah from scratch); buildah add --quiet $one tree /
            buildah config --entrypoint '[\"/bin/busybox\"]' --cmd 'cat words' --env GLASS=jar --user keeper --workingdir /etc $one
            buildah config --label org.example.by=buildah --port 80 --stop-signal USR1 --volume /data $one
            buildah commit --quiet $one first; two=$(buildah from first); root=$(buildah mount $two)
            rm $root/etc/secret; echo of the second layer > $root/etc/words
            buildah commit --quiet $two oci-archive:{}:jar:1",
            archive.display()
        ),
    );
    let told = imported_and_run(&server, "brought:1", &archive, "of the second layer");
    assert_eq!(told["layers"].as_array().map(Vec::len), Some(2), "{told}");
    assert_eq!(told["config"]["labels"]["org.example.by"], "buildah");
    assert_eq!(call(&server, &["run", "--rm", "brought:1", "sh", "-c", LOOK]), "gone");
}

#[test]
fn images_of_podman_are_read_in_both_of_its_formats() {
    let Some(place) = place(&["podman"]) else { return };
    let Some(server) = server() else { return };
    let Some(()) = tree(&place) else { return };
    script(
        &place,
        "tar --create --file tree.tar --directory tree .
        change() { echo --change \"$1\"; }
        podman import --quiet --change 'ENTRYPOINT [\"/bin/busybox\"]' --change 'CMD [\"cat\", \"words\"]' --change ENV=GLASS=jar \
            --change USER=keeper --change WORKDIR=/etc tree.tar jar:1
        podman save --quiet --format docker-archive --output docker.tar jar:1
        podman save --quiet --format oci-archive --output oci.tar jar:1",
    );
    let first = imported_and_run(&server, "first:1", &place.path("docker.tar"), "of the first layer");
    let second = imported_and_run(&server, "second:1", &place.path("oci.tar"), "of the first layer");
    assert_eq!(first["layers"][0]["diff_id"], second["layers"][0]["diff_id"], "one tree, unpacked once");
}

#[test]
fn an_image_of_umoci_is_read() {
    let Some(place) = place(&["umoci"]) else { return };
    let Some(server) = server() else { return };
    let Some(()) = tree(&place) else { return };
    script(
        &place,
        "umoci init --layout layout; umoci new --image layout:jar; umoci unpack --image layout:jar bundle
        cp --archive tree/. bundle/rootfs/; umoci repack --image layout:jar bundle; rm -r bundle
        umoci unpack --image layout:jar bundle; rm bundle/rootfs/etc/secret; umoci repack --image layout:jar bundle
        umoci config --image layout:jar --config.entrypoint /bin/busybox --config.cmd cat --config.cmd words --config.user keeper \
            --config.workingdir /etc --config.env GLASS=jar
        tar --create --file image.tar --directory layout .",
    );
    let told = imported_and_run(&server, "brought:1", &place.path("image.tar"), "of the first layer");
    assert_eq!(told["layers"].as_array().map(Vec::len), Some(2), "{told}");
    assert_eq!(call(&server, &["run", "--rm", "brought:1", "sh", "-c", LOOK]), "gone");
}

#[test]
fn an_archive_of_skopeo_in_the_format_of_docker_save_is_read() {
    let Some(images) = fixtures::images() else { return };
    let Some(server) = server() else { return };
    let archive = server.scratch("archives").join("nginx.tar");
    crate::skopeo(&["copy", "--quiet", &images.oci("nginx:1"), &format!("docker-archive:{}:nginx:1", archive.display())]);
    call(&server, &["images", "import", "kept:1", &archive.to_string_lossy()]);
    assert_eq!(call(&server, &["run", "--rm", "kept:1", "cat", "/var/www/html/index.html"]), "under a glass jar");
    assert_eq!(image(&server, "kept:1")["config"]["stop_signal"], "SIGQUIT");
}

/// Pulls nginx and writes it to an archive.
fn exported() -> Option<(crate::bed::Bed, String)> {
    let bed = bed()?;
    let name = bed.pull("nginx:1");
    let archive = bed.server.scratch("archives").join("nginx.tar").to_string_lossy().into_owned();
    bed.call(&["images", "export", &name, "--output", &archive]);
    Some((bed, archive))
}

#[test]
fn skopeo_reads_our_archive_in_both_formats_and_finds_the_image_that_was_pulled() {
    let Some((bed, archive)) = exported() else { return };
    let config = |image: &str| -> Value {
        serde_json::from_str(&crate::skopeo(&["inspect", "--config", "--tls-verify=false", image])).expect("skopeo writes JSON")
    };
    let pulled = config(&format!("docker://{}", bed.name("nginx:1")));
    for format in ["oci-archive", "docker-archive"] {
        let ours = config(&format!("{format}:{archive}"));
        assert_eq!(ours["config"], pulled["config"], "{format}");
        assert_eq!(ours["rootfs"], pulled["rootfs"], "{format}");
        assert_eq!(ours["history"].as_array().map(Vec::len), pulled["history"].as_array().map(Vec::len), "{format}");
    }
    // Every blob is read and checked by a copy.
    let copied = bed.server.scratch("copied").to_string_lossy().into_owned();
    crate::skopeo(&["copy", "--quiet", &format!("oci-archive:{archive}"), &format!("dir:{copied}")]);
}

#[test]
fn podman_loads_our_archive_and_finds_in_it_what_we_do() {
    let Some(place) = place(&["podman"]) else { return };
    let Some((_bed, archive)) = exported() else { return };
    let told = script(
        &place,
        &format!(
            "id=$(podman load --quiet --input {archive} | tail -n 1 | sed 's/.*: //'); root=$(podman image mount $id)
            cat $root/var/www/html/index.html; test ! -e $root/etc/issue
            podman image inspect --format '{{{{.Config.StopSignal}}}} {{{{.Config.WorkingDir}}}}' $id"
        ),
    );
    assert_eq!(told, "under a glass jar\nSIGQUIT /var/www/html");
}

/// Docker's daemon, in the place, with nothing of the host's network; its log where it does not answer.
fn start_dockerd(place: &Place) -> Result<std::process::Child, String> {
    let log = fs::File::create(place.path("log")).expect("a log can be written");
    let mut daemon = place.command("dockerd");
    daemon.args(["--config-file", &place.file("daemon.json", "{}"), "--data-root", &place.text("docker")]);
    daemon.args(["--exec-root", "/run/docker", "--pidfile", "/run/docker.pid", "--host", "unix:///run/docker.sock"]);
    daemon.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]);
    daemon.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", place.name()]);
    let mut daemon = daemon.stdout(log.try_clone().expect("a descriptor can be duplicated")).stderr(log).spawn().expect("dockerd runs");
    let answers = wait_until("dockerd answers, or ends", || {
        if daemon.try_wait().expect("a child can be waited for").is_some() {
            return Some(false);
        }
        docker(place, &["version"]).status.success().then_some(true)
    });
    if answers { Ok(daemon) } else { Err(fs::read_to_string(place.path("log")).unwrap_or_default()) }
}

fn docker(place: &Place, arguments: &[&str]) -> std::process::Output {
    place.command("docker").args(["--host", "unix:///run/docker.sock"]).args(arguments).output().expect("docker runs")
}

#[test]
fn docker_loads_our_archive_and_finds_in_it_what_we_do() {
    let Some(place) = place(&["dockerd", "containerd"]) else { return };
    let Some((bed, archive)) = exported() else { return };
    let mut daemon = match start_dockerd(&place) {
        Ok(daemon) => daemon,
        Err(log) => return skip(&format!("a dockerd that runs here: {}", log.lines().last().unwrap_or_default())),
    };
    let call = |arguments: &[&str]| succeeded(&format!("docker {}", arguments.join(" ")), &docker(&place, arguments));
    let loaded = call(&["load", "--input", &archive]);
    let name = bed.name("nginx:1");
    assert!(loaded.contains(&name), "{loaded}");
    let told: Value = serde_json::from_str(&call(&["image", "inspect", &name])).expect("docker writes JSON");
    let ours = image(&bed.server, &name);
    assert_eq!(told[0]["Id"], ours["digest"], "it is the same image");
    let layers: Vec<Value> = ours["layers"].as_array().expect("layers").iter().map(|layer| layer["diff_id"].clone()).collect();
    assert_eq!(told[0]["RootFS"]["Layers"], Value::from(layers));
    assert_eq!(told[0]["Config"]["StopSignal"], "SIGQUIT");
    // What its layers make is what ours do: a page in the place of the package's, and a file of Debian that is gone.
    call(&["create", "--name", "web", "--network", "none", &name]);
    call(&["cp", "web:/var/www/html/index.html", &place.text("index.html")]);
    assert_eq!(fs::read_to_string(place.path("index.html")).expect("it was copied"), "under a glass jar\n");
    assert!(!docker(&place, &["cp", "web:/etc/issue", &place.text("issue")]).status.success());
    place.shell("kill $(cat /run/docker.pid)");
    wait_until("dockerd has ended", || daemon.try_wait().expect("a child can be waited for"));
}

#[test]
fn umoci_unpacks_our_archive() {
    let Some(place) = place(&["umoci", "tar"]) else { return };
    let Some((_bed, archive)) = exported() else { return };
    let told = script(
        &place,
        &format!(
            "mkdir layout; tar --extract --file {archive} --directory layout; tag=$(umoci list --layout layout)
            umoci unpack --image layout:$tag bundle
            cd bundle/rootfs; cat var/www/html/index.html; ls var/www/html; test ! -e etc/issue; test -x usr/sbin/nginx"
        ),
    );
    assert_eq!(told, "under a glass jar\nindex.html");
}

#[test]
fn our_archive_comes_back_as_the_same_image_on_another_server() {
    let Some((bed, archive)) = exported() else { return };
    let Some(other) = server() else { return };
    call(&other, &["images", "import", "back:1", &archive]);
    let (sent, back) = (image(&bed.server, &bed.name("nginx:1")), image(&other, "back:1"));
    for field in ["config", "history", "platform"] {
        assert_eq!(sent[field], back[field], "{field}");
    }
    let layers = |image: &Value| image["layers"].as_array().unwrap().iter().map(|layer| layer["diff_id"].clone()).collect::<Vec<_>>();
    assert_eq!(layers(&sent), layers(&back));
}
