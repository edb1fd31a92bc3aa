/* The oracle of the tests: compiles rules with libseccomp and writes the program to standard output.
 *
 * Reads lines:  default WORD
 *               arch TOKEN-NAME              beside the native one
 *               rule WORD NAME COUNT (INDEX OP A B)*
 *               knows ARCH NAME              writes "NUMBER\n" instead (of one architecture, as text)
 * WORD is the action as the kernel writes it. A rule that libseccomp refuses is told on standard error, and fails. */
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    scmp_filter_ctx filter = NULL;
    char line[4096], name[256];
    unsigned word, count;
    int asked = 0;
    while (fgets(line, sizeof line, stdin)) {
        char arch[64];
        if (sscanf(line, "knows %63s %255s", arch, name) == 2) {
            printf("%d\n", seccomp_syscall_resolve_name_arch(seccomp_arch_resolve_name(arch), name));
            asked = 1;
        } else if (sscanf(line, "default %u", &word) == 1) {
            if (!(filter = seccomp_init(word))) return 2;
            seccomp_attr_set(filter, SCMP_FLTATR_API_TSKIP, 1);
        } else if (sscanf(line, "arch %63s", arch) == 1) {
            uint32_t token = seccomp_arch_resolve_name(arch);
            if (seccomp_arch_exist(filter, token) && seccomp_arch_add(filter, token)) return 3;
        } else if (sscanf(line, "rule %u %255s %u", &word, name, &count) == 3 && count <= 6) {
            struct scmp_arg_cmp args[6];
            char *at = line;
            for (int i = 0; i < 4; i++) at = strchr(at, ' ') + (i < 3 || count ? 1 : 0);
            for (unsigned i = 0; i < count; i++) {
                args[i].arg = strtoul(at, &at, 10);
                args[i].op = strtoul(at, &at, 10);
                args[i].datum_a = strtoull(at, &at, 10);
                args[i].datum_b = strtoull(at, &at, 10);
            }
            int number = seccomp_syscall_resolve_name(name);
            if (number == __NR_SCMP_ERROR) continue;
            int done = seccomp_rule_add_array(filter, word, number, count, args);
            if (done) {
                fprintf(stderr, "%d: %s", done, line);
                return 4;
            }
        } else {
            fprintf(stderr, "what is: %s", line);
            return 5;
        }
    }
    if (asked) return 0;
    fflush(stdout);
    return filter && seccomp_export_bpf(filter, 1) ? 6 : 0;
}
