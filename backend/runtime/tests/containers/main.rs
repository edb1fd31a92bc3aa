//! Real containers, made by the isolation core alone from a folder with a static busybox. Each is made by a process of its
//! own: this program, executed again, which does what a file tells it ([`bed`]).
//!
//! The tests run without the usual harness, because that has threads, and what makes a container must have one only. It must
//! never know a server, a monitor or a bundle of somebody else's.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on panics")]

mod bed;
mod exec;
mod hooks;
mod lifecycle;
mod namespaces;
mod process;
mod tree;

/// A test by its name.
type Test = (&'static str, fn());

macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name as fn())),*]
    };
}

fn main() -> std::process::ExitCode {
    if bed::carried_out() {
        return std::process::ExitCode::SUCCESS;
    }
    let all: &[Test] = tests![
        lifecycle::a_container_is_made_where_clone3_is_hidden,
        namespaces::a_mount_namespace_of_another_is_joined,
        namespaces::a_container_in_the_hosts_tree_has_a_folder_of_it_as_root,
        exec::a_program_in_a_running_container_has_its_namespaces_cgroup_and_limits,
        exec::a_program_in_a_container_with_ids_of_its_own_is_its_root,
        exec::a_program_finds_the_root_of_a_container_that_mounted_over_it,
        exec::a_program_has_a_terminal_of_the_containers,
        exec::nothing_of_the_maker_is_seen_in_a_container_that_looks_all_the_time,
        exec::a_program_enters_under_any_filter_and_without_a_proc,
        exec::a_container_that_has_ended_takes_no_more_programs,
        hooks::hooks_run_in_order_each_in_its_place_with_the_state,
        hooks::a_hook_that_fails_before_the_start_undoes_the_container,
        hooks::a_hook_inside_that_fails_ends_the_start,
        lifecycle::a_container_waits_for_its_start_and_is_started_once,
        lifecycle::an_exec_that_fails_is_told_to_whoever_starts,
        lifecycle::a_program_that_cannot_be_executed_is_found_out_by_whoever_makes_the_container,
        lifecycle::nothing_is_left_of_a_container_that_failed_to_be_made,
        namespaces::every_kind_is_new_where_it_is_listed_and_the_hosts_where_not,
        namespaces::a_time_namespace_has_its_clocks_and_the_maker_keeps_its_own,
        namespaces::namespaces_of_others_are_joined_without_a_user_namespace,
        namespaces::a_new_user_namespace_goes_with_a_network_of_the_hosts,
        namespaces::a_user_namespace_is_joined_and_everything_new_belongs_to_it,
        namespaces::a_path_that_means_another_namespace_by_now_is_refused,
        process::a_plain_container_has_what_it_was_given_and_nothing_else,
        process::a_user_has_its_groups_its_mask_and_the_capabilities_that_were_kept_for_it,
        process::limits_scheduling_and_personality_are_set_from_outside_and_kept,
        process::an_unknown_limit_is_refused_by_its_field,
        process::a_filter_without_no_new_privileges_is_loaded_all_the_same,
        process::a_working_folder_is_made_and_one_that_lies_outside_is_refused,
        process::a_terminal_is_the_containers_own_and_its_console,
        process::a_minimal_init_reaps_and_ends_as_the_program_does,
        process::a_minimal_init_leaves_no_zombie_of_fifty_orphans,
        process::a_program_that_is_not_there_is_told_with_its_step,
        tree::files_and_sockets_and_devices_are_bound_as_what_they_are,
        tree::owners_are_shown_as_was_asked_and_nothing_on_disk_changes,
        tree::what_cannot_show_other_owners_is_named,
        tree::without_a_network_of_its_own_sys_is_the_hosts_and_read_only,
        tree::terminals_have_no_group_where_the_container_has_no_id_for_it,
        tree::its_own_cgroup_is_there_in_every_hierarchy_and_cannot_be_written_to,
        tree::what_is_masked_reads_as_nothing_and_what_is_protected_stays,
        tree::a_read_only_root_is_complete_before_it_is_read_only,
        tree::propagation_of_the_root_is_as_asked,
        tree::kernel_parameters_are_the_containers_own_or_refused_by_name,
        tree::a_program_under_landlock_reaches_what_was_named_and_nothing_else,
        tree::a_label_of_a_module_that_the_host_does_not_have_is_an_error,
        tree::a_root_whose_own_folders_are_links_is_refused_and_harms_nothing,
        tree::files_planted_in_a_dev_without_a_mount_are_not_taken_for_devices,
        tree::devices_that_were_asked_for_are_there_with_mode_and_owner,
        tree::containers_that_share_a_volume_cannot_lead_each_others_mounts_out_of_it,
        tree::processes_of_others_are_hidden_where_that_is_asked,
    ];
    let is_asked = |word: &str| std::env::args().skip(1).any(|argument| argument == word);
    if is_asked("--list") {
        // nextest asks a second time for those that are ignored, and runs none of what is listed then.
        let listed = if is_asked("--ignored") { &[] } else { all };
        listed.iter().for_each(|(name, _)| println!("{name}: test"));
        return std::process::ExitCode::SUCCESS;
    }
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let chosen = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    run(&all.iter().filter(|(name, _)| chosen(name)).copied().collect::<Vec<_>>(), all.len())
}

/// One after the other, and counted in the words of the usual harness.
fn run(tests: &[Test], all: usize) -> std::process::ExitCode {
    println!("\nrunning {} tests", tests.len());
    let mut failed = 0;
    for (name, test) in tests {
        let passed = std::panic::catch_unwind(test).is_ok();
        failed += usize::from(!passed);
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    }
    let (passed, left_out) = (tests.len() - failed, all - tests.len());
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {left_out} filtered out\n");
    if failed == 0 { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::from(101) }
}
