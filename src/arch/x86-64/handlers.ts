/** x86-64: signal handlers of our own. No JavaScript may run in one, so that they are a few instructions each. */
import type { ForwardPlan, HandlerCode } from '../arch.ts';
import { CodeWriter } from '../assemble.ts';
import { call, load } from './code.ts';
import { NR_X86_64 as NR } from './syscall-numbers.ts';

const SIGSTOP = 19;
const SIGTSTP = 20;

/** Appends the function that a handler returns to: rt_sigreturn(). */
function withRestorer(code: CodeWriter): HandlerCode {
  const restorer = code.here;
  call(code, NR.rt_sigreturn, () => {});
  return { code: code.bytes(), restorer };
}

/** waitid(P_PID, tid, NULL, WEXITED | WNOHANG | __WALL, NULL) for each tid of a list that ends with 0. */
export function buryCode(tids: number): HandlerCode {
  const code = new CodeWriter();
  code.raw(0x53); // push rbx
  code.raw(0x48, 0xbb).imm64(tids); // mov rbx, tids
  const next = code.here;
  code.raw(0x8b, 0x33, 0x85, 0xf6, 0x74); // mov esi, [rbx]; test esi, esi; jz done
  const done = code.short();
  code.raw(0x48, 0x83, 0xc3, 0x04); // add rbx, 4
  call(code, NR.waitid, (c) => {
    load.edi(c, 1);
    load.edx(c, 0);
    load.r10d(c, 0x4000_0005);
    c.raw(0x45, 0x31, 0xc0); // xor r8d, r8d
  });
  code.raw(0xe9).backNear(next); // jmp next
  done();
  code.raw(0x5b, 0xc3); // pop rbx; ret
  return withRestorer(code);
}

/**
 * Stores the signal's number in a word. Where another thread than the main one has got the signal, it sends it on with
 * tgkill(), so that a call which the main thread sleeps in ends.
 */
export function noteCode(word: number): HandlerCode {
  const code = new CodeWriter();
  code.raw(0x48, 0xb8).imm64(word).raw(0x89, 0x38); // mov rax, word; mov [rax], edi
  code.raw(0x57); // push rdi
  call(code, NR.getpid, () => {});
  code.raw(0x89, 0xc7); // mov edi, eax
  call(code, NR.gettid, () => {});
  code.raw(0x5a, 0x39, 0xc7, 0x74); // pop rdx; cmp edi, eax; je done
  const done = code.short();
  code.raw(0x89, 0xfe); // mov esi, edi
  call(code, NR.tgkill, () => {});
  done();
  code.raw(0xc3); // ret
  return withRestorer(code);
}

/**
 * pidfd_send_signal(pidfd, signal, NULL, 0), but not for what the kernel has sent (si_code > 0) to the group that both
 * are in. After SIGTSTP, kill(getpid(), SIGSTOP): the shell is to see its job stop.
 */
export function forwardCode({ pidfd, sameGroup }: ForwardPlan): HandlerCode {
  const code = new CodeWriter();
  code.raw(0x53, 0x89, 0xfb); // push rbx; mov ebx, edi
  let sentAlready = (): void => {};
  if (sameGroup) {
    code.raw(0x83, 0x7e, 0x08, 0x00, 0x7f); // cmp dword [rsi+8], 0; jg sentAlready
    sentAlready = code.short();
  }
  call(code, NR.pidfd_send_signal, (c) => {
    load.edi(c, pidfd);
    c.raw(0x89, 0xde); // mov esi, ebx
    load.edx(c, 0);
    load.r10d(c, 0);
  });
  sentAlready();
  code.raw(0x83, 0xfb, SIGTSTP, 0x75); // cmp ebx, SIGTSTP; jne done
  const done = code.short();
  call(code, NR.getpid, () => {});
  code.raw(0x89, 0xc7); // mov edi, eax
  call(code, NR.kill, (c) => load.esi(c, SIGSTOP));
  done();
  code.raw(0x5b, 0xc3); // pop rbx; ret
  return withRestorer(code);
}
