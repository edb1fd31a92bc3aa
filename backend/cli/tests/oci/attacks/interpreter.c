/* What the kernel loads in a container where something asks for the host's dynamic loader: it keeps a handle on the program
   that it was loaded for (which is the runtime, where the container executes /proc/self/exe), and leaves it to the probe to
   write to it once that program has ended. No C library: its start would believe that the other program's tables are its own. */
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

void _start(void) {
    char digits[3] = {0, 0, 0};
    long handle = call(2, (long)"/proc/self/exe", 010000000 /* O_PATH */, 0);
    digits[0] = handle < 0 ? 'x' : '0' + (char)(handle % 10);
    char *words[] = {"probe", "later", digits, "2", 0};
    char *environment[] = {"PATH=/bin", 0};
    call(59, (long)"/bin/probe", (long)words, (long)environment);
    call(60, 1, 0, 0);
    for (;;) {}
}
