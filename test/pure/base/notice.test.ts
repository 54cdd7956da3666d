/** Notices: one for each object, however many tasks have it; and how people and programs see them. */
import { expect, test } from 'bun:test';
import { noticeForPeople } from '../../../src/api/report.ts';
import { Notices } from '../../../src/base/notice.ts';

const job = { pid: 17, comm: 'job' };

test('one of an object is told once, with the number of tasks', () => {
  const notices = new Notices();
  const facts = { resource: 'pipe:[5]', reason: 'its other end is gone', remedy: 'give another' };
  for (const task of [job, { pid: 18 }, { pid: 19 }, job]) notices.add({ task, ...facts });
  notices.add({ task: job, resource: 'pipe:[6]', reason: 'its other end is gone' });
  const [first, second] = notices.list;
  expect(notices.list).toHaveLength(2);
  expect(first?.message).toBe('task 17 (job): pipe:[5]: its other end is gone (and 2 more tasks)');
  expect(second?.message).toBe('task 17 (job): pipe:[6]: its other end is gone');
});

test('people see a sentence and a hint, without control characters', () => {
  const notices = new Notices();
  notices.add({ task: job, resource: 'fd 3 (/a\nb)', reason: 'is odd', remedy: 'close it' });
  notices.add({ reason: 'the clocks leap' });
  expect(notices.list.map(noticeForPeople)).toEqual([
    'Warning: task 17 (job): fd 3 (/a\\x0ab): is odd\nHint: close it',
    'Warning: the clocks leap',
  ]);
});

test('programs see an object', () => {
  const notices = new Notices();
  notices.add({ task: job, reason: 'is odd' });
  expect(JSON.parse(JSON.stringify(notices.list))).toEqual([{ task: job, reason: 'is odd', others: 0 }]);
});
