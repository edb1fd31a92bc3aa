//! What is kept of images: names, what uses them, what nobody needs, what is damaged; and a container's changes as an image.

use std::fs;

use belljar_testbed::wait_until;

use crate::bed::{bed, call, image, output, refused, server};

#[test]
fn a_name_is_given_and_taken_and_the_image_stays_until_its_last() {
    let Some(bed) = bed() else { return };
    let name = bed.pull("debian:1");
    bed.call(&["images", "tag", &name, "mine:1"]);
    assert_eq!(image(&bed.server, "mine:1")["digest"], image(&bed.server, &name)["digest"]);
    bed.call(&["images", "delete", &name]);
    assert!(bed.call(&["run", "--rm", "mine:1", "cat", "/etc/os-release"]).contains("Debian"));
    assert!(!bed.call(&["images", "list"]).contains(&name));
}

#[test]
fn an_image_that_is_used_is_not_deleted_and_who_uses_it_is_said() {
    let Some(bed) = bed() else { return };
    let name = bed.name("debian:1");
    bed.call(&["run", "--detach", "--name", "user", &name, "sleep", "1d"]);
    let said = refused(&bed.server, &["images", "delete", &name]);
    assert!(said.contains("user"), "{said}");
    bed.call(&["delete", "--force", "user"]);
    bed.call(&["images", "delete", &name]);
}

#[test]
fn the_history_is_the_images() {
    let Some(bed) = bed() else { return };
    let name = bed.pull("nginx:1");
    let told = bed.call(&["images", "history", &name]);
    for layer in ["debian", "nginx", "site"] {
        assert!(told.contains(&format!("the recipe's layer {layer}")), "{told}");
    }
    assert!(told.contains("CMD as below"), "{told}");
}

/// Folders of layers.
fn layers(server: &belljar_testbed::Server) -> usize {
    fs::read_dir(server.data_dir().join("images/layers")).map_or(0, Iterator::count)
}

#[test]
fn what_nothing_uses_goes_with_a_prune_and_what_is_used_stays() {
    let Some(bed) = bed() else { return };
    for name in ["nginx:1", "redis:1"] {
        bed.pull(name);
    }
    bed.call(&["run", "--detach", "--name", "web", &bed.name("nginx:1")]);
    let shown = bed.call(&["images", "prune", "--all", "--dry-run"]);
    assert!(shown.contains("redis") && !shown.contains("nginx:1"), "{shown}");
    assert_eq!(layers(&bed.server), 5, "it was only shown");
    bed.call(&["images", "prune", "--all", "--force"]);
    let listed = bed.call(&["images", "list"]);
    assert!(listed.contains("nginx:1") && !listed.contains("redis"), "{listed}");
    wait_until("its layers are gone", || (layers(&bed.server) == 3).then_some(()));
    assert_eq!(bed.call(&["exec", "web", "cat", "/var/www/html/index.html"]), "under a glass jar");
}

#[test]
fn damage_is_found_by_its_layer_and_file() {
    let Some(bed) = bed() else { return };
    let name = bed.pull("nginx:1");
    bed.call(&["images", "verify"]);
    let diff_id = image(&bed.server, &name)["layers"][2]["diff_id"].as_str().unwrap().to_owned();
    let layer = bed.server.data_dir().join("images/layers").join(diff_id.trim_start_matches("sha256:"));
    fs::write(layer.join("var/www/html/index.html"), "under a broken jar\n").expect("a file of a layer can be written");
    let said = output(&bed.server, &["images", "verify"]);
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(!said.status.success() && text.contains("index.html") && text.contains(&diff_id[..19]), "{text}");
}

#[test]
fn a_containers_changes_are_an_image_that_other_tools_read_too() {
    let Some(bed) = bed() else { return };
    let name = bed.name("debian:1");
    let change = "echo changed > /etc/jar; rm /etc/issue; rm -r /opt; mkdir /opt; echo new > /opt/new; ln -s jar /etc/link; sleep 1d";
    bed.call(&["run", "--detach", "--name", "work", &name, "sh", "-c", change]);
    wait_until("it has changed", || output(&bed.server, &["exec", "work", "test", "-e", "/etc/link"]).status.success().then_some(()));
    bed.call(&["commit", "work", "made:1"]);
    bed.call(&["delete", "--force", "work"]);
    let look = "cat /etc/link; ls /opt; test ! -e /etc/issue && echo gone; test -e /etc/os-release && echo kept";
    assert_eq!(bed.call(&["run", "--rm", "made:1", "sh", "-c", look]), "changed\nnew\ngone\nkept");
    let archive = bed.server.scratch("archives").join("made.tar").to_string_lossy().into_owned();
    bed.call(&["images", "export", "made:1", "--output", &archive]);
    let config: serde_json::Value =
        serde_json::from_str(&crate::skopeo(&["inspect", "--config", &format!("oci-archive:{archive}")])).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(2), "{config}");
    let Some(other) = server() else { return };
    call(&other, &["images", "import", "back:1", &archive]);
    assert_eq!(call(&other, &["run", "--rm", "back:1", "sh", "-c", look]), "changed\nnew\ngone\nkept");
}
