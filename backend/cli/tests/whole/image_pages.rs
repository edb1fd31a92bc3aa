//! The pages of images on a real server, without a script: what their forms do, and what is told where they refuse.

use std::process::Command;

use belljar_testbed::Server;
use serde_json::json;

/// Brings a root file system in that has one file.
fn bring(server: &Server, name: &str) {
    let folder = server.scratch("root");
    std::fs::write(folder.join("hello"), "hello\n").unwrap();
    let tar = Command::new("tar").arg("-C").arg(&folder).args(["-c", "."]).output().expect("tar runs");
    assert!(tar.status.success());
    server.api().post(&format!("/api/v1/images/import?name={name}"), tar.stdout).expect(201);
}

#[test]
fn an_image_is_shown_named_verified_handed_out_and_freed() {
    let Some(server) = crate::server() else { return };
    bring(&server, "jar");
    let list = server.api().get("/images").expect(200).text();
    assert!(list.contains("href=\"/image?name=jar:latest\"") && list.contains("data-live=\"/stream?page=images\""), "{list}");
    let page = server.api().get("/image?name=jar:latest").expect(200).text();
    assert!(page.contains("root file system") && page.contains("nobody"));
    server.api().post_form("/images/tag", "image=jar:latest&name=registry.example/me/jar:1").expect(303);
    let wrong = server.api().post_form("/images/tag", "image=jar:latest&name=UPPER").text();
    assert!(wrong.contains("id=\"name-wrong\""), "{wrong}");
    let verified = server.api().post_form("/images/verify", "image=jar:latest").expect(200).text();
    assert!(verified.contains("All of it is as its digests say"), "{verified}");
    let archive = server.api().get("/images/export?name=registry.example/me/jar:1").expect(200);
    assert!(archive.header("content-disposition").contains("attachment"));

    server.create(&json!({"image": "jar", "name": "user", "command": ["/hello"], "start": false}));
    server.api().post_form("/images/delete", "image=registry.example/me/jar:1").expect(303);
    assert!(server.api().post_form("/images/delete", "image=jar:latest").expect(409).text().contains("user"));
    assert!(server.api().get("/images/prune?all=yes").expect(200).text().contains("nothing to free"));
    server.api().delete("/api/v1/containers/user").expect(204);
    assert!(server.api().get("/images/prune").expect(200).text().contains("nothing to free"), "it has a name");
    let shown = server.api().get("/images/prune?all=yes").expect(200).text();
    let only = shown.split("name=\"only\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("what is shown");
    server.api().post_form("/images/prune", &format!("all=yes&only={only}")).expect(303);
    assert!(!server.api().get("/images").expect(200).text().contains("jar:latest"));
    server.api().get("/image?name=jar:latest").expect(404);
}

#[test]
fn a_pull_that_is_refused_says_why_at_its_field() {
    let Some(server) = crate::server() else { return };
    // Nobody listens at the first port of loopback.
    for reference in ["127.0.0.1:1/nobody:1", "Not%20A%20Name"] {
        let refused = server.api().post_form("/images/pull", &format!("reference={reference}"));
        let page = refused.text();
        assert!(page.contains("id=\"reference-wrong\""), "{reference}: {page}");
    }
    let form = server.api().get("/containers/new?image=nginx:1").expect(200).text();
    assert!(form.contains("value=\"nginx:1\"") && form.contains("<datalist"));
}
