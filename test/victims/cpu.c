/*
 * Registers: a busy loop in assembly that holds known values in everything user space can see, and looks at them at
 * every turn: general purpose, x87 with control and tags, SSE, AVX, AVX-512 with masks, MXCSR, fs and gs base.
 *
 *   cpu            all of it that this CPU has
 *   cpu amx        the tile registers (asked of the kernel first), and the rest at the start and at the end
 */
#include "victim.h"
#if !defined(__x86_64__)
int main(void) { skip("x86-64 only"); }
#else
#include <asm/prctl.h>
#include <cpuid.h>
#include <sys/prctl.h>

#define XCR0_AVX 0x6u
#define XCR0_AVX512 0xe6u
#define XCR0_TILES 0x60000u

/* Filled before the loop, written to after it. Used by the assembly by name. */
__attribute__((aligned(64))) uint64_t cpu_in[32][8], cpu_out[32][8];
uint64_t cpu_mask_in[8], cpu_mask_out[8];
uint64_t cpu_gpr_in[16], cpu_gpr_out[16];
uint64_t cpu_x87_in[8][2], cpu_x87_out[8][2];
uint32_t cpu_mxcsr_in, cpu_mxcsr_out;
uint16_t cpu_control_in, cpu_control_out;
uint64_t cpu_turns;
uint64_t cpu_flags_in, cpu_flags_out;
__attribute__((aligned(64))) uint8_t cpu_tile_config[64], cpu_tile_in[8][1024], cpu_tile_out[8][1024];

/* General registers and flags: all but rsp, which has to be a stack. */
#define GPR(op)                                                                                                       \
  op(0, rax) op(1, rbx) op(2, rcx) op(3, rdx) op(4, rsi) op(5, rdi) op(6, rbp) op(8, r8) op(9, r9) op(10, r10)        \
      op(11, r11) op(12, r12) op(13, r13) op(14, r14) op(15, r15)
#define LOAD(i, r) "mov cpu_gpr_in+8*" #i "(%rip), %" #r "\n"
#define SAVE(i, r) "mov %" #r ", cpu_gpr_out+8*" #i "(%rip)\n"

/* Spins cpu_turns times with every general register known. The vector unit is not used here. */
__asm__(
    ".text\n.globl cpu_spin\ncpu_spin:\n"
    "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
    GPR(LOAD)
    "1: pushq cpu_flags_in(%rip)\npopfq\n"
    "2: pause\n"
    "lea -1(%rsp), %rsp\nlea 1(%rsp), %rsp\n"
    "pushfq\npopq cpu_flags_out(%rip)\n"
    "decq cpu_turns(%rip)\n"
    "jnz 1b\n"
    GPR(SAVE)
    "cld\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\n"
    "ret\n");
void cpu_spin(void);

#define EACH8(op, p) op(p, 0) op(p, 1) op(p, 2) op(p, 3) op(p, 4) op(p, 5) op(p, 6) op(p, 7)
#define EACH16(op, p) EACH8(op, p) op(p, 8) op(p, 9) op(p, 10) op(p, 11) op(p, 12) op(p, 13) op(p, 14) op(p, 15)
#define EACH32(op, p)                                                                                                 \
  EACH16(op, p) op(p, 16) op(p, 17) op(p, 18) op(p, 19) op(p, 20) op(p, 21) op(p, 22) op(p, 23) op(p, 24) op(p, 25)   \
      op(p, 26) op(p, 27) op(p, 28) op(p, 29) op(p, 30) op(p, 31)
#define LOAD_XMM(p, i) "movdqa cpu_in+64*" #i "(%rip), %xmm" #i "\n"
#define SAVE_XMM(p, i) "movdqa %xmm" #i ", cpu_out+64*" #i "(%rip)\n"
#define LOAD_YMM(p, i) "vmovdqa cpu_in+64*" #i "(%rip), %ymm" #i "\n"
#define SAVE_YMM(p, i) "vmovdqa %ymm" #i ", cpu_out+64*" #i "(%rip)\n"
#define LOAD_ZMM(p, i) "vmovdqa64 cpu_in+64*" #i "(%rip), %zmm" #i "\n"
#define SAVE_ZMM(p, i) "vmovdqa64 %zmm" #i ", cpu_out+64*" #i "(%rip)\n"
#define LOAD_MASK(p, i) "kmovq cpu_mask_in+8*" #i "(%rip), %k" #i "\n"
#define SAVE_MASK(p, i) "kmovq %k" #i ", cpu_mask_out+8*" #i "(%rip)\n"
#define LOAD_TILE(p, i) "mov $64, %eax\nlea cpu_tile_in+1024*" #i "(%rip), %rcx\ntileloadd (%rcx,%rax), %tmm" #i "\n"
#define SAVE_TILE(p, i) "mov $64, %eax\nlea cpu_tile_out+1024*" #i "(%rip), %rcx\ntilestored %tmm" #i ", (%rcx,%rax)\n"
#define LOAD_X87(p, i) "fldt cpu_x87_in+16*" #i "(%rip)\n"
#define SAVE_X87(p, i) "fstpt cpu_x87_out+16*" #i "(%rip)\n"

/* A function that loads, spins, saves. */
#define UNIT(name, load, save)                                                                                        \
  __asm__(".text\n.globl " #name "\n" #name ":\n" load "1: pause\ndecq cpu_turns(%rip)\njnz 1b\n" save "ret\n");      \
  void name(void)

UNIT(cpu_sse, "ldmxcsr cpu_mxcsr_in(%rip)\n" EACH16(LOAD_XMM, ), EACH16(SAVE_XMM, ) "stmxcsr cpu_mxcsr_out(%rip)\n");
UNIT(cpu_avx, "ldmxcsr cpu_mxcsr_in(%rip)\n" EACH16(LOAD_YMM, ),
     EACH16(SAVE_YMM, ) "stmxcsr cpu_mxcsr_out(%rip)\nvzeroupper\n");
UNIT(cpu_avx512, "ldmxcsr cpu_mxcsr_in(%rip)\n" EACH32(LOAD_ZMM, ) EACH8(LOAD_MASK, ),
     EACH32(SAVE_ZMM, ) EACH8(SAVE_MASK, ) "stmxcsr cpu_mxcsr_out(%rip)\nvzeroupper\n");
UNIT(cpu_x87, "fninit\nfldcw cpu_control_in(%rip)\n" EACH8(LOAD_X87, ),
     EACH8(SAVE_X87, ) "fnstcw cpu_control_out(%rip)\nfninit\n");
UNIT(cpu_tiles, "ldtilecfg cpu_tile_config(%rip)\n" EACH8(LOAD_TILE, ), EACH8(SAVE_TILE, ) "tilerelease\n");

static const char *vectors = "sse";
static size_t vector_bytes = 16, vector_count = 16;
static void (*vector_unit)(void) = cpu_sse;
static bool tiles;
static uint64_t gs_base = 0x123456789000;
static uint64_t turn;

static void run(void (*unit)(void)) {
  cpu_turns = 200000;
  unit();
}

static void verify_tiles(void) {
  turn++;
  fill_known(cpu_tile_in, sizeof cpu_tile_in, turn);
  run(cpu_tiles);
  check(!memcmp(cpu_tile_in, cpu_tile_out, sizeof cpu_tile_in), "tiles");
}

/* The state is the assembly's for a few milliseconds at a time; nearly all of the time of this program. */
static void verify(void) {
  turn++;
  for (int i = 0; i < 16; i++) cpu_gpr_in[i] = known_word(turn, i);
  /* CF PF AF ZF SF OF, DF and IF: the arithmetic flags alternate. */
  cpu_flags_in = turn & 1 ? 0x202 | 0x8d5 | 0x400 : 0x202;
  run(cpu_spin);
  for (int i = 0; i < 16; i++)
    if (i != 7) check(cpu_gpr_out[i] == cpu_gpr_in[i], "general register %d", i);
  check((cpu_flags_out & 0xcd5) == (cpu_flags_in & 0xcd5), "flags are %lx", cpu_flags_out);

  fill_known(cpu_in, sizeof cpu_in, turn);
  for (int i = 0; i < 8; i++) cpu_mask_in[i] = known_word(turn + 1, i);
  cpu_mxcsr_in = turn & 1 ? 0x1f80 | 0x6000 | 0x8000 : 0x1f80 | 0x2000 | 0x15;
  run(vector_unit);
  for (size_t i = 0; i < vector_count; i++)
    check(!memcmp(cpu_in[i], cpu_out[i], vector_bytes), "%s register %zu", vectors, i);
  if (vector_unit == cpu_avx512) check(!memcmp(cpu_mask_in, cpu_mask_out, sizeof cpu_mask_in), "masks");
  check(cpu_mxcsr_out == cpu_mxcsr_in, "mxcsr is %x", cpu_mxcsr_out);

  for (int i = 0; i < 8; i++) {
    cpu_x87_in[i][0] = known_word(turn, i) | 1ull << 63; /* a normal number */
    cpu_x87_in[i][1] = 0x3fff + i;
  }
  cpu_control_in = turn & 1 ? 0x37f : 0xc7f & ~0x300;
  run(cpu_x87);
  for (int i = 0; i < 8; i++) check(!memcmp(cpu_x87_in[i], cpu_x87_out[7 - i], 10), "x87 register %d", i);
  check(cpu_control_out == cpu_control_in, "x87 control is %x", cpu_control_out);

  uint64_t base = 0;
  check(!syscall(SYS_arch_prctl, ARCH_GET_GS, &base) && base == gs_base, "gs base is %lx", base);
}

static uint64_t xcr0(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0;
  __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return a;
}

static void ask_for_tiles(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1)) skip("this CPU has no tiles");
  if (syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18l)) skip("no permission for tiles");
  if ((xcr0() & XCR0_TILES) != XCR0_TILES) skip("the kernel does not enable tiles");
  cpu_tile_config[0] = 1; /* palette */
  for (int i = 0; i < 8; i++) {
    cpu_tile_config[16 + 2 * i] = 64; /* bytes a row */
    cpu_tile_config[48 + i] = 16;     /* rows */
  }
  tiles = true;
}

int main(int argc, char **argv) {
  uint64_t enabled = xcr0();
  if ((enabled & XCR0_AVX512) == XCR0_AVX512 && __builtin_cpu_supports("avx512bw")) {
    vectors = "avx-512", vector_bytes = 64, vector_count = 32, vector_unit = cpu_avx512;
  } else if ((enabled & XCR0_AVX) == XCR0_AVX) {
    vectors = "avx", vector_bytes = 32, vector_unit = cpu_avx;
  }
  if (argc > 1 && !strcmp(argv[1], "amx")) ask_for_tiles();
  check(!syscall(SYS_arch_prctl, ARCH_SET_GS, gs_base));
  verify();
  victim_ready();
  /* With tiles: nearly all of the time with something in them. */
  while (!victim_asked()) tiles ? verify_tiles() : verify();
  if (tiles) verify_tiles();
  verify();
  victim_pass();
}
#endif
