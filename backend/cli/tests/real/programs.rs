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

/// Starts PostgreSQL on the named volume, and waits until it answers.
fn start_postgres(bed: &Bed) {
    let volume = "rows:/var/lib/postgresql/data";
    bed.call(&["run", "--detach", "--name", "db", "--volume", volume, &bed.name("postgres:1")]);
    wait_until("PostgreSQL answers", || {
        assert_eq!(bed.server.container("db")["state"], "running", "{}", bed.server.logs("db"));
        output(&bed.server, &["exec", "db", "pg_isready", "--host", "/tmp,/var/run/postgresql"]).status.success().then_some(())
    });
}

fn sql(bed: &Bed, statement: &str) -> String {
    bed.call(&["exec", "db", "psql", "--no-align", "--tuples-only", "--command", statement])
}

#[test]
fn postgresql_finds_its_row_again_when_its_container_was_deleted_and_made_again_on_its_volume() {
    let Some(bed) = bed() else { return };
    start_postgres(&bed);
    sql(&bed, "create table jars (name text)");
    sql(&bed, "insert into jars values ('bell')");
    bed.call(&["stop", "db"]);
    let exit = bed.server.container("db")["exit"].clone();
    assert_eq!((&exit["kind"], &exit["code"]), (&json!("exited"), &json!(0)), "SIGINT is a fast shutdown: {exit}");
    bed.call(&["delete", "db"]);
    start_postgres(&bed);
    assert_eq!(sql(&bed, "select name from jars"), "bell");
    assert!(
        !bed.server.logs("db").contains("belonging to this database system")
            && !bed.server.logs("db").contains("was not properly shut down")
    );
    assert_eq!(bed.call(&["exec", "db", "stat", "-c", "%U %a", "/var/lib/postgresql/data"]), "postgres 700");
}
