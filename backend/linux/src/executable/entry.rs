//! Where our executable begins: before libc, and before it is joined with itself. What makes a container is executed twice
//! ([`super::protect`]), and most of what the first execution costs is libc's beginning: so it decides right here, by the words
//! of the command line alone, and goes on from the read-only copy at once.
//!
//! It never fails: where anything is not as expected it goes on as if it were not there, and [`super::protect`], which is called
//! in any case, decides and tells. It must never touch what needs relocation, nor call anything: nothing of the program stands yet.
//!
//! The linker is told of it by the build script of the executable (`backend/cli/build.rs`); other executables that have this
//! code begin as ever. Where a dynamic loader comes first it goes on here as it would at `_start`.

// What `_start` expects is left as it was (System V ABI for AMD64, *Process Initialization*): the stack pointer, at argc, and
// rdx, which is a function of the loader's or nothing. The pointers that are read are the kernel's: argc arguments, a null
// pointer, the environment, a null pointer, each text ended by a NUL. System calls are given addresses on this stack and of
// constants in the code, and leave every register alone but rax, rcx and r11.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
std::arch::global_asm!(
    r#"
    .pushsection .text.belljar_entry, "ax", @progbits
    .globl belljar_entry
    .hidden belljar_entry
    .type belljar_entry, @function
belljar_entry:
    endbr64
    mov r15, rdx                    /* for _start */
    mov r14, rsp                    /* for _start: argc, argv, 0, envp, 0 */
    mov r12, [rsp]                  /* how many words there are */
    lea r13, [rsp + 8]              /* the first */

    /* Which program it is: `belljar monitor`, `belljar runtime ...`, or `.../belljar-runtime ...`. */
    cmp r12, 2
    jb 90f
    lea rdi, [rip + 80f]
    mov rsi, [r13 + 8]
    call 70f
    je 30f
    mov ebx, 2
    lea rdi, [rip + 81f]
    mov rsi, [r13 + 8]
    call 70f
    je 20f
    mov ebx, 1
    mov rsi, [r13]
    mov rdx, rsi                    /* the last component of the name */
15: mov al, [rsi]
    inc rsi
    cmp al, 47
    cmove rdx, rsi
    test al, al
    jnz 15b
    mov rsi, rdx
    lea rdi, [rip + 82f]
    call 70f
    jne 90f

    /* Of the runtime's commands, those whose process enters a container. A word that only looks like one costs little. */
20: cmp rbx, r12
    jae 90f
    mov rsi, [r13 + 8 * rbx]
    lea rdi, [rip + 83f]
    call 70f
    je 30f
    mov rsi, [r13 + 8 * rbx]
    lea rdi, [rip + 84f]
    call 70f
    je 30f
    mov rsi, [r13 + 8 * rbx]
    lea rdi, [rip + 85f]
    call 70f
    je 30f
    inc rbx
    jmp 20b

    /* statfs(own file): nothing is to be done where its mount is read-only (ST_RDONLY). */
30: sub rsp, 192                    /* a statfs of 120 bytes, then a mount_attr of 32 */
    mov eax, 137
    lea rdi, [rip + 86f]
    mov rsi, rsp
    syscall
    test rax, rax
    jnz 90f
    test byte ptr [rsp + 80], 1
    jnz 90f

    /* open_tree(AT_FDCWD, own file, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC): a copy of its mount that hangs nowhere. */
    mov eax, 428
    mov rdi, -100
    lea rsi, [rip + 86f]
    mov edx, 0x80001
    syscall
    test rax, rax
    js 90f
    mov rbx, rax

    /* mount_setattr(copy, "", AT_EMPTY_PATH, set MOUNT_ATTR_RDONLY): nobody can undo it, for nobody can name the copy. */
    mov qword ptr [rsp + 128], 1
    mov qword ptr [rsp + 136], 0
    mov qword ptr [rsp + 144], 0
    mov qword ptr [rsp + 152], 0
    mov eax, 442
    mov rdi, rbx
    lea rsi, [rip + 87f]
    mov edx, 0x1000
    lea r10, [rsp + 128]
    mov r8d, 32
    syscall
    test rax, rax
    jnz 40f

    /* fstatfs(copy): were it not read-only, the second execution would come here again, and so on. */
    mov eax, 138
    mov rdi, rbx
    mov rsi, rsp
    syscall
    test rax, rax
    jnz 40f
    test byte ptr [rsp + 80], 1
    jz 40f

    /* execveat(copy, "", argv, envp, AT_EMPTY_PATH): returns only where it failed. */
    mov eax, 322
    mov rdi, rbx
    lea rsi, [rip + 87f]
    mov rdx, r13
    lea r10, [r13 + 8 * r12 + 8]
    mov r8d, 0x1000
    syscall
40: mov eax, 3                      /* close(copy) */
    mov rdi, rbx
    syscall
    jmp 90f

    /* Whether the texts at rdi and rsi are the same. */
70: mov al, [rdi]
    cmp al, [rsi]
    jne 71f
    inc rdi
    inc rsi
    test al, al
    jnz 70b
71: ret

80: .asciz "monitor"
81: .asciz "runtime"
82: .asciz "belljar-runtime"
83: .asciz "create"
84: .asciz "run"
85: .asciz "exec"
86: .asciz "/proc/self/exe"
87: .asciz ""

90: mov rsp, r14
    mov rdx, r15
    jmp _start
    .size belljar_entry, . - belljar_entry
    .popsection
    "#
);
