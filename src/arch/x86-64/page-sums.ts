/** x86-64: checksums of page contents, with the instruction there is for them since SSE4.2 (2008). */
import { CodeWriter } from '../assemble.ts';

/**
 * long sums(const void *from, long length, uint32_t sums[4]): CRC-32C of each quarter of `length` bytes, a multiple of
 * 32. Answers 0, or -1 where the processor has no such instruction. The four are computed side by side, since each
 * crc32 has to wait three cycles for the one before it. Position-independent; uses the stack for a word.
 */
export function pageSums(): Uint8Array {
  const code = new CodeWriter();
  code.raw(0x53); // push rbx
  code.raw(0x49, 0x89, 0xd0); // mov r8, rdx
  code.raw(0xb8).imm32(1); // mov eax, 1
  code.raw(0x0f, 0xa2); // cpuid
  code.raw(0x48, 0xc7, 0xc0).imm32(-1); // mov rax, -1
  code.raw(0xf7, 0xc1).imm32(1 << 20); // test ecx, 1 << 20 (SSE4.2)
  code.raw(0x74); // jz end
  const none = code.short();
  code.raw(0x48, 0xc1, 0xee, 0x02); // shr rsi, 2
  code.raw(0x4c, 0x8d, 0x0c, 0x37); // lea r9, [rdi + rsi]
  code.raw(0x4d, 0x8d, 0x14, 0x31); // lea r10, [r9 + rsi]
  code.raw(0x4d, 0x8d, 0x1c, 0x32); // lea r11, [r10 + rsi]
  code.raw(0xb8).imm32(-1); // mov eax, 0xffffffff
  code.raw(0xb9).imm32(-1); // mov ecx, 0xffffffff
  code.raw(0xba).imm32(-1); // mov edx, 0xffffffff
  code.raw(0xbb).imm32(-1); // mov ebx, 0xffffffff
  const loop = code.here;
  code.raw(0xf2, 0x48, 0x0f, 0x38, 0xf1, 0x07); // crc32 rax, qword [rdi]
  code.raw(0xf2, 0x49, 0x0f, 0x38, 0xf1, 0x09); // crc32 rcx, qword [r9]
  code.raw(0xf2, 0x49, 0x0f, 0x38, 0xf1, 0x12); // crc32 rdx, qword [r10]
  code.raw(0xf2, 0x49, 0x0f, 0x38, 0xf1, 0x1b); // crc32 rbx, qword [r11]
  code.raw(0x48, 0x83, 0xc7, 0x08); // add rdi, 8
  code.raw(0x49, 0x83, 0xc1, 0x08); // add r9, 8
  code.raw(0x49, 0x83, 0xc2, 0x08); // add r10, 8
  code.raw(0x49, 0x83, 0xc3, 0x08); // add r11, 8
  code.raw(0x48, 0x83, 0xee, 0x08); // sub rsi, 8
  code.raw(0x0f, 0x85).backNear(loop); // jnz loop
  code.raw(0xf7, 0xd0, 0xf7, 0xd1, 0xf7, 0xd2, 0xf7, 0xd3); // not eax; not ecx; not edx; not ebx
  code.raw(0x41, 0x89, 0x00); // mov [r8], eax
  code.raw(0x41, 0x89, 0x48, 0x04); // mov [r8 + 4], ecx
  code.raw(0x41, 0x89, 0x50, 0x08); // mov [r8 + 8], edx
  code.raw(0x41, 0x89, 0x58, 0x0c); // mov [r8 + 12], ebx
  code.raw(0x31, 0xc0); // xor eax, eax
  none();
  return code.raw(0x5b, 0xc3).bytes(); // pop rbx; ret
}
