/** Users and groups of user namespaces, there and here; options of file systems and sysctls that name some. */
import { describe, expect, test } from 'bun:test';
import { withOtherIds } from '../../../src/namespaces/mnt/filesystems.ts';
import { groupRange } from '../../../src/namespaces/net/sysctls.ts';
import { firstGroup, firstUser, IdMaps, NO_ID, OUR_IDS } from '../../../src/support/user-ids.ts';

const MAPS = IdMaps.from({
  uid_map: [
    { first: 100_000, lower_first: 200_000, count: 50_000 },
    { first: 0, lower_first: 20_000, count: 20_000 },
  ],
  gid_map: [{ first: 7, lower_first: 1000, count: 1 }],
});

describe('maps', () => {
  test.each([
    [20_000, 0],
    [39_999, 19_999],
    [200_000, 100_000],
    [249_999, 149_999],
  ])('%d here is %d there', (here, there) => {
    expect(MAPS.uidThere(here)).toBe(there);
    expect(MAPS.uidHere(there)).toBe(here);
  });

  test.each([0, 19_999, 40_000, 199_999, 250_000, NO_ID])('%d has no ID there', (here) => {
    expect(MAPS.uidThere(here)).toBe(NO_ID);
  });

  test('what is not there is of root here', () => {
    expect(MAPS.uidHere(20_000)).toBe(0);
    expect(MAPS.gidHere(8)).toBe(0);
    expect(OUR_IDS.uidHere(NO_ID)).toBe(0);
    expect(OUR_IDS.gidThere(5)).toBe(5);
  });

  test('the first user is root, if there is one', () => {
    expect(firstUser(MAPS)).toBe(20_000);
    expect(firstGroup(MAPS)).toBe(1000);
    expect(firstUser(IdMaps.from({ uid_map: [], gid_map: [] }))).toBeUndefined();
  });
});

test('options of file systems', () => {
  const other = (options: string): string =>
    withOtherIds(
      options,
      (uid) => uid + 1,
      (gid) => gid + 2,
    );
  expect(other('size=4k,uid=5,gid=6,mode=755')).toBe('size=4k,uid=6,gid=8,mode=755');
  expect(other('uid=5')).toBe('uid=6');
  expect(other('myuid=5,gid=x')).toBe('myuid=5,gid=x');
});

test('ranges of groups', () => {
  expect(groupRange('20\t30\n', (gid) => gid * 2)).toBe('40\t60');
});
