# What every attacker has at hand: system calls by name, and a line "NAME: RESULT" for each attempt, where the result is
# `done` or the name of the errno. It must never decide whether an attempt was allowed: the test does.
import ctypes, errno, os, platform, signal, socket, stat, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
# Numbers of x86-64 and of the generic table; where they are the same there is one.
NUMBERS = {
    "unshare": (272, 97), "mount": (165, 40), "umount2": (166, 39), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "bpf": (321, 280), "userfaultfd": (323, 282), "perf_event_open": (298, 241), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "pivot_root": (155, 41), "setns": (308, 268), "reboot": (169, 142), "swapon": (167, 224),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "quotactl": (179, 60), "acct": (163, 89), "syslog": (103, 116),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "vhangup": (153, 58),
    "sethostname": (170, 161), "setdomainname": (171, 162), "ptrace": (101, 117), "process_vm_readv": (310, 270), "kcmp": (312, 272),
    "fanotify_init": (300, 262), "personality": (135, 92), "clone": (56, 220), "socket": (41, 198), "mknodat": (259, 33),
    "io_uring_setup": (425,), "fsopen": (430,), "open_tree": (428,), "move_mount": (429,), "mount_setattr": (442,), "pidfd_open": (434,),
    "pidfd_getfd": (438,), "clone3": (435,), "fsconfig": (431,), "fsmount": (432,), "shmget": (29, 194), "shmat": (30, 196),
}


def said(name, result):
    sys.stdout.write("%s: %s\n" % (name, result))
    sys.stdout.flush()


def named(number):
    return errno.errorcode.get(number, str(number))


def call(name, *arguments):
    numbers = NUMBERS[name]
    number = numbers[0] if platform.machine() == "x86_64" else numbers[-1]
    arguments = [ctypes.c_char_p(one) if isinstance(one, bytes) else one if hasattr(one, "_type_") or isinstance(one, ctypes.Array)
                 else ctypes.c_long(one) for one in arguments]
    result = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


# Tries something and says how it went; returns what came of it.
def tried(name, attempt, *arguments):
    try:
        result = attempt(*arguments)
    except OSError as error:
        said(name, named(error.errno))
        return None
    except ValueError:
        # Python's word where the kernel refuses a larger limit.
        said(name, "EPERM")
        return None
    said(name, "done")
    return result


def written(path, text):
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


# Every file below a folder that opens for writing; nothing is written. What is of a process is left out.
def opened_below(*roots):
    seen = opened = 0
    for root in roots:
        for folder, folders, files in os.walk(root):
            if folder == "/proc":
                folders[:] = [name for name in folders if not name.isdigit() and name not in ("self", "thread-self")]
            for name in files:
                path = os.path.join(folder, name)
                try:
                    mode = os.lstat(path).st_mode
                    if not stat.S_ISREG(mode):
                        continue
                    seen += 1
                    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
                except OSError:
                    continue
                # Root may open what nothing can be written to.
                if mode & 0o222:
                    opened += 1
                    said("opens", path)
    said("files tried", seen)
    said("files opened", opened)


# Runs a part in a process of its own, so that what kills it does not kill the attacker.
def apart(name, part):
    child = os.fork()
    if child == 0:
        try:
            part()
        except OSError as error:
            said(name, named(error.errno))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        said(name, signal.Signals(os.WTERMSIG(status)).name)


