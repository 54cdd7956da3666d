/** Texts of `nft list ruleset` and `iptables-save`, as far as they have to be understood. Pure. */

/** Whether a text of `iptables-save` has anything that a new namespace does not have: rules, chains, policies. */
export function hasRules(saved: string): boolean {
  return saved.split('\n').some((line) => line.startsWith('-A ') || /^:\S+ (?!ACCEPT\b)/.test(line));
}

/** The text by which `iptables-restore` leaves nothing of what a text of `iptables-save` has. */
export function emptied(saved: string): string {
  const lines = saved.split('\n').flatMap((line) => {
    if (line.startsWith('*') || line === 'COMMIT') return [line];
    const policy = /^(:\S+) (?!-)\S+/.exec(line);
    return policy ? [`${policy[1]} ACCEPT [0:0]`] : [];
  });
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** The lock of a dump that `criu` makes in a namespace, which it takes for part of what it saves. */
const LOCK_CHAIN = 'CRIU';
const LOCK_CHAIN_OF_NFT = /^\tchain CRIU \{[\s\S]*?^\t\}\n\n?/gm;
const JUMP_TO_LOCK = /^.* jump CRIU$\n?/gm;
const LOCK_TABLE = /^table \S+ CRIU-\S+ \{[\s\S]*?^\}\n?/gm;

/** A text of `iptables-save` without the rules that locked the network for the dump. */
export function withoutLockChain(saved: string): string {
  const isLock = (line: string): boolean => {
    return (
      line.startsWith(`:${LOCK_CHAIN} `) || line.startsWith(`-A ${LOCK_CHAIN} `) || line.endsWith(` -j ${LOCK_CHAIN}`)
    );
  };
  return saved
    .split('\n')
    .filter((line) => !isLock(line))
    .join('\n');
}

/**
 * A text of `nft list ruleset` without what locked the network for the dump: a table, or a chain that an iptables made
 * which speaks to nf_tables.
 */
export function withoutLockTable(ruleset: string): string {
  return ruleset.replace(LOCK_TABLE, '').replace(LOCK_CHAIN_OF_NFT, '').replace(JUMP_TO_LOCK, '');
}

/** Whether the name of a table is that of such a lock. */
export function isLockTable(name: string): boolean {
  return name.startsWith('CRIU-');
}
