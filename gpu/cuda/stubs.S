//go:build cuda

// A function for each of symbols.h, so that the program links, and starts, without
// CUDA's libraries. It jumps to where troupe_at_NAME points: into the library when
// libraries.go has opened that, before to what returns an error.

#include "symbols.h"

#if defined(__x86_64__)
#define JUMP(name) endbr64; jmpq *troupe_at_##name(%rip)
#elif defined(__aarch64__)
#define JUMP(name) bti c; adrp x16, troupe_at_##name; ldr x16, [x16, :lo12:troupe_at_##name]; br x16
#else
#error "CUDA runs on x86-64 and ARM64"
#endif

#define STUB(name, absent) \
	.text; .balign 16; .globl name; .hidden name; .type name, %function; \
	name: JUMP(name); .size name, . - name; \
	.data; .balign 8; .globl troupe_at_##name; .hidden troupe_at_##name; troupe_at_##name: .quad absent
#define STATUS(name) STUB(name, troupe_no_function);
#define TEXT(name) STUB(name, troupe_no_text);

TROUPE_DRIVER(STATUS, TEXT)
TROUPE_NVRTC(STATUS, TEXT)
TROUPE_BLAS(STATUS, TEXT)
TROUPE_NCCL(STATUS, TEXT)

	.section .note.GNU-stack, "", %progbits
