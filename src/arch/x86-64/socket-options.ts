/** x86-64: reads many options of a socket. */
import { CodeWriter } from '../assemble.ts';
import { NR_X86_64 as NR } from './syscall-numbers.ts';

/**
 * long read(int socket, struct entry *entries, long count): calls getsockopt(2) for each of `count` entries, at least
 * one, and notes the result: 0 or -errno. Position-independent.
 *
 *     struct entry { u32 level, name; void *value; u32 length; s32 result; };
 */
export function readSocketOptions(): Uint8Array {
  const code = new CodeWriter();
  code.raw(0x53); // push rbx
  code.raw(0x49, 0x89, 0xf1); // mov r9, rsi; the kernel keeps all registers but rax, rcx and r11
  code.raw(0x48, 0x89, 0xd3); // mov rbx, rdx
  const loop = code.here;
  code.raw(0x41, 0x8b, 0x31); // mov esi, [r9]
  code.raw(0x41, 0x8b, 0x51, 0x04); // mov edx, [r9 + 4]
  code.raw(0x4d, 0x8b, 0x51, 0x08); // mov r10, [r9 + 8]
  code.raw(0x4d, 0x8d, 0x41, 0x10); // lea r8, [r9 + 16]
  code.raw(0xb8).imm32(NR.getsockopt); // mov eax, getsockopt
  code.raw(0x0f, 0x05); // syscall
  code.raw(0x41, 0x89, 0x41, 0x14); // mov [r9 + 20], eax
  code.raw(0x49, 0x83, 0xc1, 0x18); // add r9, 24
  code.raw(0x48, 0xff, 0xcb); // dec rbx
  code.raw(0x0f, 0x85).backNear(loop); // jnz loop
  code.raw(0x31, 0xc0); // xor eax, eax
  return code.raw(0x5b, 0xc3).bytes(); // pop rbx; ret
}
