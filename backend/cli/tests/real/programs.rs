//! Programs as their packages have them, in containers of pulled images: nginx answers, redis keeps, PostgreSQL finds its row again.

use belljar_testbed::wait_until;
use serde_json::json;

use crate::bed::{Bed, bed, output};

/// A page, asked for by the shell of the image itself.
fn page(bed: &Bed, address: &str) -> Option<String> {
    let (host, port) = address.split_once(':').expect("an address");
    let ask = format!("exec 3<>/dev/tcp/{host}/{port}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3");
    let told = output(&bed.server, &["exec", "web", "bash", "-c", &ask]);
    told.status.success().then(|| String::from_utf8_lossy(&told.stdout).into_owned())
}

#[test]
fn nginx_answers_from_inside() {
    let Some(bed) = bed() else { return };
    bed.call(&["run", "--detach", "--name", "web", &bed.name("nginx:1")]);
    let answer = wait_until("nginx answers", || page(&bed, "127.0.0.1:80"));
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("under a glass jar\n"), "{answer}");
    // The layer's folder of pages stands in the place of the package's, and a file of Debian is gone.
    assert_eq!(bed.call(&["exec", "web", "ls", "/var/www/html"]), "index.html");
    assert!(!output(&bed.server, &["exec", "web", "ls", "/etc/issue"]).status.success());
    bed.server.wait_for_log("web", "GET / HTTP/1.0");
    bed.call(&["stop", "web"]);
    let exit = bed.server.container("web")["exit"].clone();
    assert_eq!((&exit["kind"], &exit["code"]), (&json!("exited"), &json!(0)), "SIGQUIT lets it finish: {exit}");
}

#[test]
fn nginx_is_healthy_by_the_check_of_its_image() {
    let Some(bed) = bed() else { return };
    bed.call(&["run", "--detach", "--name", "web", "--health-interval", "200ms", &bed.name("nginx:1")]);
    let status = |wanted: &str| bed.server.container("web")["health"]["status"] == wanted;
    wait_until("it is healthy", || status("healthy").then_some(()));
    // Nobody listens any more: so it is the port that is asked, and the image's own number of failures that counts.
    bed.call(&["exec", "web", "sh", "-c", "sed -i s/:80/:81/ /run/nginx.conf; nginx -c /run/nginx.conf -s reload"]);
    wait_until("it is unhealthy", || status("unhealthy").then_some(()));
    assert_eq!(bed.server.container("web")["health_check"]["retries"], 4);
}

#[test]
fn nginx_answers_on_the_hosts_network() {
    let Some(bed) = bed() else { return };
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port can be had").local_addr().expect("an address").port();
    let address = format!("127.0.0.1:{port}");
    let variable = format!("ADDRESS={address}");
    bed.call(&["run", "--detach", "--name", "web", "--network", "host", "--env", &variable, &bed.name("nginx:1")]);
    let answer = wait_until("nginx answers", || belljar_testbed::Client::on_tcp(&address).try_send("GET", "/", Vec::new()).ok());
    assert_eq!((answer.status, answer.text().as_str()), (200, "under a glass jar\n"));
    assert!(answer.header("server").starts_with("nginx"));
}

#[test]
fn redis_keeps_what_it_is_told_as_the_user_of_its_image() {
    let Some(bed) = bed() else { return };
    bed.call(&["run", "--detach", "--name", "cache", &bed.name("redis:1")]);
    let redis = |words: &[&str]| output(&bed.server, &[&["exec", "cache", "redis-cli"], words].concat());
    wait_until("redis answers", || (redis(&["ping"]).stdout == b"PONG\n").then_some(()));
    assert_eq!(redis(&["set", "jar", "glass"]).stdout, b"OK\n");
    assert_eq!(redis(&["get", "jar"]).stdout, b"glass\n");
    assert_eq!(bed.call(&["exec", "cache", "id", "-un"]), "redis");
    assert_eq!(bed.call(&["exec", "cache", "pwd"]), "/data");
    // The volume began with what the image has there, and with its owner.
    assert_eq!(bed.call(&["exec", "cache", "cat", "/data/hello"]), "from the image");
    assert_eq!(bed.call(&["exec", "cache", "stat", "-c", "%U:%G %a", "/data"]), "redis:redis 750");
}

/// Starts PostgreSQL with these flags, and waits until it answers.
fn start_postgres(bed: &Bed, flags: &[&str]) {
    let image = bed.name("postgres:1");
    bed.call(&[&["run", "--detach", "--name", "db"], flags, &[&image]].concat());
    wait_for_postgres(bed);
}

fn wait_for_postgres(bed: &Bed) {
    wait_until("PostgreSQL answers", || {
        assert_eq!(bed.server.container("db")["state"], "running", "{}", bed.server.logs("db"));
        output(&bed.server, &["exec", "db", "pg_isready", "--host", "/tmp,/var/run/postgresql"]).status.success().then_some(())
    });
}

/// The volume that has the rows.
const ROWS: [&str; 2] = ["--volume", "rows:/var/lib/postgresql/data"];

fn sql(bed: &Bed, statement: &str) -> String {
    bed.call(&["exec", "db", "psql", "--no-align", "--tuples-only", "--command", statement])
}

#[test]
fn postgresql_finds_its_row_again_when_its_container_was_deleted_and_made_again_on_its_volume() {
    let Some(bed) = bed() else { return };
    start_postgres(&bed, &ROWS);
    sql(&bed, "create table jars (name text)");
    sql(&bed, "insert into jars values ('bell')");
    bed.call(&["stop", "db"]);
    let exit = bed.server.container("db")["exit"].clone();
    assert_eq!((&exit["kind"], &exit["code"]), (&json!("exited"), &json!(0)), "SIGINT is a fast shutdown: {exit}");
    bed.call(&["delete", "db"]);
    start_postgres(&bed, &ROWS);
    assert_eq!(sql(&bed, "select name from jars"), "bell");
    assert!(
        !bed.server.logs("db").contains("belonging to this database system")
            && !bed.server.logs("db").contains("was not properly shut down")
    );
    assert_eq!(bed.call(&["exec", "db", "stat", "-c", "%U %a", "/var/lib/postgresql/data"]), "postgres 700");
}

#[test]
fn the_volume_that_postgresql_declares_is_its_containers_own_and_goes_with_it() {
    let Some(bed) = bed() else { return };
    let volumes = || bed.server.api().get("/api/v1/volumes").expect(200).json();
    let folders = || std::fs::read_dir(bed.server.data_dir().join("volumes")).map_or(0, Iterator::count);
    start_postgres(&bed, &[]);
    let all = volumes();
    assert_eq!((all.as_array().map(Vec::len), &all[0]["anonymous"]), (Some(1), &json!(true)), "{all}");
    let user = &all[0]["used_by"][0];
    assert_eq!((&user["container"], &user["target"]), (&json!("db"), &json!("/var/lib/postgresql/data")), "{all}");
    // It began as the image's folder is, and what is in it is in no layer of the container.
    assert_eq!(bed.call(&["exec", "db", "stat", "-c", "%U %a", "/var/lib/postgresql/data"]), "postgres 700");
    assert!(!bed.call(&["diff", "db"]).contains("/var/lib/postgresql/data/"), "it is in the volume");
    sql(&bed, "create table jars (name text)");
    sql(&bed, "insert into jars values ('bell')");
    bed.call(&["restart", "db"]);
    wait_for_postgres(&bed);
    assert_eq!(sql(&bed, "select name from jars"), "bell");
    bed.call(&["delete", "--force", "db"]);
    assert_eq!((volumes(), folders()), (json!([]), 0));
    // The next one begins anew, and one with a name stays where that one goes.
    start_postgres(&bed, &ROWS);
    assert!(!output(&bed.server, &["exec", "db", "psql", "--command", "select name from jars"]).status.success());
    bed.call(&["delete", "--force", "db"]);
    assert_eq!(volumes()[0]["name"], "rows");
}
