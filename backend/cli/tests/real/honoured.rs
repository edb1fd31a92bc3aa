//! What an image says is what its containers are, and what a person says wins.

use serde_json::{Value, json};

use crate::bed::{Bed, bed, image};

/// Everything that is known of a container, as `inspect` says it.
fn inspected(bed: &Bed, name: &str) -> Value {
    let told: Value = serde_json::from_str(&bed.call(&["inspect", name])).expect("inspect writes JSON");
    if told.is_array() { told[0].clone() } else { told }
}

#[test]
fn a_container_is_what_its_image_says() {
    let Some(bed) = bed() else { return };
    bed.call(&["create", "--name", "web", &bed.name("nginx:1")]);
    let told = inspected(&bed, "web");
    assert_eq!(told["command"], json!(["serve", "nginx", "-c", "/run/nginx.conf", "-g", "daemon off;"]), "{told}");
    assert_eq!((&told["workdir"], &told["stop_signal"]), (&json!("/var/www/html"), &json!("SIGQUIT")), "{told}");
    assert_eq!(told["env"]["GLASS"], "bell jar");
    assert_eq!(told["labels"]["org.example.words"], "with spaces, \"quotes\" and \u{fc}");
    assert_eq!(told["health_check"]["retries"], 4, "{told}");
}

#[test]
fn what_a_person_says_wins_over_the_image() {
    let Some(bed) = bed() else { return };
    let flags = ["--env", "GLASS=mine", "--workdir", "/etc", "--stop-signal", "TERM", "--label", "org.example.what=mine"];
    let image = bed.name("nginx:1");
    let words: Vec<&str> = [&["create", "--name", "web"], &flags[..], &[&image, "sleep", "1d"]].concat();
    bed.call(&words);
    let told = inspected(&bed, "web");
    assert_eq!(told["command"], json!(["serve", "sleep", "1d"]), "the entrypoint stays: {told}");
    assert_eq!((&told["workdir"], &told["stop_signal"]), (&json!("/etc"), &json!("SIGTERM")));
    assert_eq!((&told["env"]["GLASS"], &told["labels"]["org.example.what"]), (&json!("mine"), &json!("mine")));
    assert_eq!(told["env"]["ADDRESS"], "127.0.0.1:80", "what nobody said otherwise is the image's");
    let shell = bed.call(&["run", "--rm", "--entrypoint", "sh", &image, "--", "-c", "tr '\\0' ' ' < /proc/1/cmdline; pwd"]);
    assert!(shell.starts_with("sh -c tr") && shell.ends_with("/var/www/html"), "{shell}");
}

#[test]
fn a_user_by_name_is_looked_up_in_the_image() {
    let Some(bed) = bed() else { return };
    let image = bed.name("postgres:1");
    let look = "id -un; id -gn; pwd; echo $PGDATA; stat -c %U $PGDATA";
    let told = bed.call(&["run", "--rm", "--entrypoint", "sh", &image, "--", "-c", look]);
    assert_eq!(told, "postgres\npostgres\n/var/lib/postgresql\n/var/lib/postgresql/data\npostgres");
    let root = bed.call(&["run", "--rm", "--user", "root", "--entrypoint", "id", &image, "--", "-u"]);
    assert_eq!(root, "0");
}

#[test]
fn each_layer_is_told_with_its_digest_its_size_and_the_command_that_made_it() {
    let Some(bed) = bed() else { return };
    let name = bed.pull("nginx:1");
    bed.call(&["create", "--name", "web", &name]);
    let told = bed.server.api().get("/api/v1/containers/web/overlay").expect(200).json();
    let layers: Vec<&Value> = told["layers"].as_array().expect("layers").iter().filter(|layer| layer["role"] == "image").collect();
    let config: Value = serde_json::from_str(&crate::skopeo(&["inspect", "--config", "--tls-verify=false", &format!("docker://{name}")]))
        .expect("skopeo writes JSON");
    let mut digests = config["rootfs"]["diff_ids"].as_array().expect("layers").clone();
    // The top one first.
    digests.reverse();
    assert_eq!(layers.iter().map(|layer| layer["digest"].clone()).collect::<Vec<_>>(), digests);
    let of_image = image(&bed.server, &name)["layers"].as_array().expect("layers").clone();
    for ((layer, known), word) in layers.iter().zip(of_image.iter().rev()).zip(["site", "nginx", "debian"]) {
        assert!(layer["command"].as_str().is_some_and(|command| command.contains(&format!("the recipe's layer {word}"))), "{layer}");
        assert_eq!(layer["size_bytes"], known["size_bytes"], "{layer}");
        assert!(layer["size_bytes"].as_u64() > Some(0) && std::path::Path::new(layer["path"].as_str().expect("a path")).is_dir());
    }
    assert!(layers[2]["size_bytes"].as_u64() > Some(50 << 20), "a Debian: {}", layers[2]);
    // Where a file comes from is told by the same layers.
    let files = bed.server.api().get("/api/v1/containers/web/overlay/files?path=/var/www/html").expect(200).json();
    let index = belljar_testbed::server::rows(&files).into_iter().find(|entry| entry["name"] == "index.html").expect("the page");
    let number = index["layer"].as_u64().and_then(|number| usize::try_from(number).ok()).expect("a layer");
    assert_eq!(told["layers"][number]["digest"], digests[0], "{index}");
}
