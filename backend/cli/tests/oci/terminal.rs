//! Terminals: the master handed over a console socket, its size, what is typed, and what Ctrl-C does.

use serde_json::json;

use crate::bed::console::Console;
use crate::bed::{Bed, Kind, Runtime, Said};
use crate::differences::Difference;

sentences! {
    the_terminal_comes_over_the_console_socket, the_terminal_has_the_size_that_was_asked_for, a_new_size_reaches_the_container,
    control_c_reaches_what_runs_in_front, the_console_is_the_terminal, a_terminal_without_a_console_socket_is_refused_when_detached,
    a_console_socket_without_a_terminal_is_refused, a_console_socket_that_is_missing_is_refused, exec_has_a_terminal_of_its_own,
    the_terminal_belongs_to_the_user, the_terminal_is_one_of_the_containers_own,
}

/// A bed whose container has a terminal, made and started, and the terminal.
fn with_terminal<'a>(runtime: &'a Runtime, script: &str) -> (Bed<'a>, crate::bed::console::Terminal) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["terminal"] = json!(true)).script(script);
    let terminal = create_with_console(&bed);
    bed.start();
    (bed, terminal)
}

fn create_with_console(bed: &Bed) -> crate::bed::console::Terminal {
    let console = Console::listen(bed);
    bed.try_create(&["--console-socket", console.path()]).ok();
    console.accept()
}

fn the_terminal_comes_over_the_console_socket(runtime: &Runtime) {
    let (_bed, mut terminal) =
        with_terminal(runtime, "test -t 0 && test -t 1 && test -t 2 && echo all; read line; echo got $line; sleep 1000");
    terminal.hear("all\r\n");
    terminal.say("hello\n");
    terminal.hear("got hello\r\n");
}

fn the_terminal_has_the_size_that_was_asked_for(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = json!({"height": 37, "width": 111});
    });
    bed.script("stty size; sleep 1000");
    let mut terminal = create_with_console(&bed);
    assert_eq!(terminal.size(), (37, 111));
    bed.start();
    terminal.hear("37 111");
}

fn a_new_size_reaches_the_container(runtime: &Runtime) {
    let (_bed, mut terminal) = with_terminal(runtime, "trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done");
    terminal.hear("ready");
    terminal.resize(44, 122);
    terminal.hear("44 122");
}

fn control_c_reaches_what_runs_in_front(runtime: &Runtime) {
    let (_bed, mut terminal) = with_terminal(runtime, "trap 'echo interrupted' INT; echo ready; while :; do sleep 0.02; done");
    terminal.hear("ready");
    terminal.say("\x03");
    terminal.hear("interrupted");
}

fn the_console_is_the_terminal(runtime: &Runtime) {
    let (_bed, mut terminal) = with_terminal(runtime, "echo through > /dev/console; stat -c 'type %t' /dev/console; tty; sleep 1000");
    terminal.hear("through\r\n");
    terminal.hear("type 88");
    terminal.hear("/dev/pts/0");
}

fn a_terminal_without_a_console_socket_is_refused_when_detached(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["terminal"] = json!(true)).arguments(&["sleep", "1000"]);
    bed.try_create(&[]).refused();
    bed.call(&["run", "--detach", bed.id()]).refused();
    bed.assert_nothing_left();
}

fn a_console_socket_without_a_terminal_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let console = Console::listen(&bed);
    bed.arguments(&["sleep", "1000"]);
    let said = bed.try_create(&["--console-socket", console.path()]);
    if !bed.differs(Difference::NeedlessConsole) {
        said.refused();
        bed.assert_nothing_left();
    }
}

fn a_console_socket_that_is_missing_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["terminal"] = json!(true)).arguments(&["sleep", "1000"]);
    bed.try_create(&["--console-socket", "/no/such/socket"]).refused();
    bed.assert_nothing_left();
}

/// Ours alone: runc takes no path that does not fit an address.
#[test]
fn a_console_socket_may_have_a_long_path() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        bed.configure(|config| config["process"]["terminal"] = json!(true)).script("tty; sleep 1000");
        let console = Console::listen_deep(&bed);
        assert!(console.path().len() > 150);
        bed.try_create(&["--console-socket", console.path()]).ok();
        let mut terminal = console.accept();
        bed.start();
        terminal.hear("/dev/pts/0");
    });
}

fn exec_has_a_terminal_of_its_own(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let console = Console::listen(&bed);
    let script = "test -t 0 && tty; read line; echo got $line";
    let arguments = ["exec", "--tty", "--detach", "--console-socket", console.path(), bed.id(), "sh", "-c", script];
    Said::in_files(bed.command(&arguments), &bed.path("exec.out"), &bed.path("exec.err")).ok();
    let mut terminal = console.accept();
    terminal.hear("/dev/pts/0");
    terminal.say("hello\n");
    terminal.hear("got hello");
}

fn the_terminal_belongs_to_the_user(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    });
    bed.script("stat -c 'owner %u' $(tty); echo works > $(tty); sleep 1000");
    let mut terminal = create_with_console(&bed);
    bed.start();
    terminal.hear("owner 1000");
    terminal.hear("works");
}

fn the_terminal_is_one_of_the_containers_own(runtime: &Runtime) {
    let (_bed, mut terminal) = with_terminal(runtime, "ls /dev/pts | tr '\\n' ' '; readlink /dev/ptmx; echo end; sleep 1000");
    let screen = terminal.hear("end");
    assert!(screen.contains("0 ptmx pts/ptmx"), "{screen}");
}
