/** Certificates for a test, made by openssl(1). */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** An authority of its own, and the certificates it gives. */
export class Authority implements Disposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'stasis-pki-'));
  readonly cacert = join(this.dir, 'ca.pem');

  constructor() {
    mkdirSync(join(this.dir, 'issued'));
    writeFileSync(join(this.dir, 'index'), '');
    writeFileSync(join(this.dir, 'number'), '01\n');
    writeFileSync(
      join(this.dir, 'ca.cnf'),
      `[ca]\ndefault_ca=own\n[own]\ndatabase=${this.dir}/index\nserial=${this.dir}/number\ncrlnumber=${this.dir}/number\n` +
        `new_certs_dir=${this.dir}/issued\ndefault_md=sha256\npolicy=any\ndefault_crl_days=30\ndefault_days=30\n` +
        `copy_extensions=copy\nunique_subject=no\n[any]\ncommonName=supplied\n`,
    );
    this.#openssl(...KEY, '-x509', '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '30', '-subj', '/CN=An authority');
  }

  /** A certificate; the paths of it and its key. */
  issue(
    name: string,
    kind: 'valid' | 'expired' = 'valid',
    names?: string,
  ): { readonly cert: string; readonly key: string } {
    const file = `${name}-${kind}`;
    const more = names === undefined ? [] : ['-addext', `subjectAltName=${names}`];
    this.#openssl(...KEY, '-keyout', `${file}.key`, '-out', `${file}.csr`, '-subj', `/CN=${name}`, ...more);
    const time = kind === 'valid' ? [] : ['-startdate', '20200101000000Z', '-enddate', '20210101000000Z'];
    this.#openssl('ca', '-batch', ...this.#own, ...time, '-in', `${file}.csr`, '-out', `${file}.pem`, '-notext');
    return { cert: join(this.dir, `${file}.pem`), key: join(this.dir, `${file}.key`) };
  }

  /** The path of a list of revoked certificates with this one in it. */
  revoke(cert: string): string {
    this.#openssl('ca', ...this.#own, '-revoke', cert);
    this.#openssl('ca', ...this.#own, '-gencrl', '-out', 'crl.pem');
    return join(this.dir, 'crl.pem');
  }

  /** The options for a side with a certificate of this authority. */
  options({ cert, key }: { readonly cert: string; readonly key: string }): string[] {
    return ['--tls', '--tls-cacert', this.cacert, '--tls-cert', cert, '--tls-key', key];
  }

  get #own(): string[] {
    return ['-config', 'ca.cnf', '-keyfile', 'ca.key', '-cert', 'ca.pem'];
  }

  #openssl(...args: readonly string[]): void {
    execFileSync('openssl', args, { cwd: this.dir, stdio: ['ignore', 'ignore', 'pipe'] });
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

const KEY = ['req', '-newkey', 'rsa:2048', '-nodes'] as const;
