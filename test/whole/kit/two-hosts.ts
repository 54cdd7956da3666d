/**
 * Two hosts for migrations: processes, mounts and a network of their own each, and a router between them. Both have the
 * address of the server, and whoever sends packets has the connection (a mark of conntrack). A client is at the router.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { helperBinary } from './compile.ts';
import { stasisCommand } from './stasis.ts';
import { sleep, until } from './until.ts';

export const SERVER = { address: '198.18.81.1', port: 5313 } as const;
export const PLACES = { a: '198.18.82.1', b: '198.18.83.1' } as const;

/** One host, or the router: the PID of a process that stays in its namespaces. */
export class Host implements Disposable {
  readonly pid: number;
  readonly #outer: ChildProcess;

  private constructor(pid: number, outer: ChildProcess) {
    this.pid = pid;
    this.#outer = outer;
  }

  static async start(...kinds: readonly string[]): Promise<Host> {
    const outer = spawn('unshare', [...kinds, '--fork', '--kill-child', 'sleep', '3600'], { stdio: 'ignore' });
    const pid = await until(
      () => {
        const inner = readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, 'latin1').trim();
        return inner && readFileSync(`/proc/${inner}/comm`, 'latin1') === 'sleep\n' ? Number(inner) : undefined;
      },
      5000,
      () => 'unshare makes no namespaces',
    );
    return new Host(pid, outer);
  }

  /** The words that run a command in it. */
  words(...command: readonly string[]): [file: string, args: string[]] {
    return ['nsenter', ['-t', String(this.pid), '-p', '-m', '-n', ...command]];
  }

  /** Runs a shell script in it. Throws what it complains about. */
  run(script: string): string {
    const { status, stdout, stderr } = spawnSync(...this.words('sh', '-ec', script), { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${script}: ${stderr}`);
    return stdout;
  }

  /** The numbers, in it, of processes called so; zombies are none. */
  named(comm: string): number[] {
    const { stdout } = spawnSync(
      ...this.words('sh', '-c', `ps -eo pid=,stat=,comm= | grep ' ${comm}$' | grep -v ' Z'`),
      {
        encoding: 'utf8',
      },
    );
    return stdout
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => Number.parseInt(line, 10));
  }

  /** The state of a process in it: R, S, T, …; undefined if there is none. */
  stateOf(pid: number): string | undefined {
    return spawnSync(...this.words('ps', '-o', 'stat=', '-p', String(pid)), { encoding: 'utf8' }).stdout.trim()[0];
  }

  [Symbol.dispose](): void {
    try {
      process.kill(this.pid, 'SIGKILL'); // the init: all others of the namespace end with it
    } catch {
      // it is gone
    }
    this.#outer.kill('SIGKILL');
  }
}

/** The network of a test. */
export class TwoHosts implements Disposable {
  readonly a: Host;
  readonly b: Host;
  readonly router: Host;

  private constructor(a: Host, b: Host, router: Host) {
    this.a = a;
    this.b = b;
    this.router = router;
  }

  static async start(): Promise<TwoHosts> {
    const router = await Host.start('--net', '--pid', '--mount-proc', '--mount');
    const made: Host[] = [];
    for (const [name, address] of Object.entries(PLACES)) {
      const host = await Host.start('--pid', '--mount-proc', '--mount', '--net');
      made.push(host);
      const gateway = address.replace(/1$/, '254');
      const veth = `type veth peer name eth0 netns ${host.pid}`;
      const { status, stderr } = spawnSync('ip', `link add to-${name} netns ${router.pid} ${veth}`.split(' '));
      if (status !== 0) throw new Error(String(stderr));
      host.run(`ip link set lo up; ip link set eth0 up; ip addr add ${address}/24 dev eth0
        ip addr add ${SERVER.address}/32 dev lo; ip route add default via ${gateway}`);
      router.run(`ip addr add ${gateway}/24 dev to-${name}; ip link set to-${name} up`);
    }
    router.run(`ip link set lo up; echo 1 > /proc/sys/net/ipv4/ip_forward
      ip route add ${SERVER.address} via ${PLACES.a}
      ip rule add fwmark 2 table 2; ip route add ${SERVER.address} via ${PLACES.b} table 2
      nft 'add table ip follow
      add chain ip follow in { type filter hook prerouting priority 0; }
      add chain ip follow out { type route hook output priority 0; }
      add rule ip follow in iifname to-b ip saddr ${SERVER.address} ct mark set 2
      add rule ip follow out ip daddr ${SERVER.address} ct mark 2 meta mark set 2'`);
    return new TwoHosts(made[0] as Host, made[1] as Host, router);
  }

  /** Starts the server (test/programs/mover.c) on the first host; its PID there, which nobody has on the other one. */
  async server(mib: number, percent: number): Promise<number> {
    const { a } = this;
    const binary = helperBinary('mover');
    a.run('echo 4710 > /proc/sys/kernel/ns_last_pid');
    const line = a.words('setsid', binary, SERVER.address, String(SERVER.port), String(mib), String(percent));
    spawn(...line, { stdio: 'ignore' }).unref();
    await until(
      () => (a.run('ss -Hltn').includes(`:${SERVER.port}`) ? true : undefined),
      20_000,
      () => 'the server does not listen',
    );
    return a.named('mover')[0] ?? 0;
  }

  [Symbol.dispose](): void {
    for (const host of [this.a, this.b, this.router]) host[Symbol.dispose]();
  }
}

const CLIENT = `
import socket, sys, time, select
s = socket.create_connection(('${SERVER.address}', ${SERVER.port}))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.settimeout(60)
f = s.makefile('rw', buffering=1, newline='\\n')
n = 0
while not select.select([sys.stdin], [], [], 0.001)[0]:
    n += 1
    f.write('line %d\\n' % n)
    answer = f.readline()
    if answer != 'line %d %d\\n' % (n, n): sys.exit('line %d was answered by %r' % (n, answer))
    print(n, flush=True)
f.write('verify\\n')
print(f.readline().strip(), flush=True)
`;

/** A client of the server, that asks all the time over one connection. */
export class Client implements Disposable {
  readonly #child: ChildProcess;
  #said: string[] = [];
  #complaint = '';

  constructor(hosts: TwoHosts) {
    this.#child = spawn(...hosts.router.words('/usr/bin/python3', '-c', CLIENT), { stdio: ['pipe', 'pipe', 'pipe'] });
    if (this.#child.stdout) createInterface(this.#child.stdout).on('line', (line) => this.#said.push(line));
    this.#child.stderr?.on('data', (text: Buffer) => (this.#complaint += text.toString()));
  }

  /** How many answers it has had, all right. */
  get answers(): number {
    return this.#said.length;
  }

  /** Waits until it has had further answers. */
  async goesOn(): Promise<void> {
    const before = this.answers;
    await until(
      () => (this.answers > before + 3 ? true : undefined),
      30_000,
      () => `the client has no more answers than ${before}: ${this.#complaint}`,
    );
  }

  /** Has the server compare its memory: what it says. */
  async verdict(): Promise<string> {
    await this.goesOn();
    this.#child.stdin?.write('verify\n');
    return until(
      () => this.#said.find((line) => /^(good|bad)/.test(line)),
      30_000,
      () => `no verdict: ${this.#complaint}`,
    );
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

/** A service on the second host that takes trees. */
export class Service implements Disposable {
  readonly #child: ChildProcess;
  #stderr = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr?.on('data', (text: Buffer) => (this.#stderr += text.toString()));
  }

  static async start(hosts: TwoHosts, options: readonly string[] = ['--insecure']): Promise<Service> {
    const words = [...stasisCommand(), 'service', '--listen', `${PLACES.b}:7000`, '--status-fd', '3', ...options];
    const child = spawn(...hosts.b.words(...words), { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
    const service = new Service(child);
    await Promise.race([
      new Promise((resolve) => child.stdio[3]?.once('data', resolve)),
      sleep(10_000).then(() => Promise.reject(new Error(`no service: ${service.#stderr}`))),
    ]);
    return service;
  }

  /** What it, and those that serve connections, have said. */
  get stderr(): string {
    return this.#stderr;
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGTERM');
  }
}

/** The command line of a migration to the second host. */
export function migration(hosts: TwoHosts, pid: number, ...more: readonly string[]): [file: string, args: string[]] {
  const to = more.includes('--ssh')
    ? []
    : ['--to', `${PLACES.b}:7000`, ...(more.includes('--tls') ? [] : ['--insecure'])];
  return hosts.a.words(...stasisCommand(), 'migrate', '-t', String(pid), '--tcp-established', ...to, ...more);
}
