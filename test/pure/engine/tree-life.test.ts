import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { setLogLevel, setLogSink } from '../../../src/base/log.ts';
import { TreeLife } from '../../../src/engine/tree-life.ts';

type How = 'done' | 'failed';

const logged: string[] = [];
beforeAll(() => {
  setLogLevel(2);
  setLogSink((line) => void logged.push(String(line)));
});
afterAll(() => setLogSink(undefined));

describe('the last doors of a tree', () => {
  const called: string[] = [];
  const doors = [
    (context: string, how: How) => void called.push(`first ${context} ${how}`),
    () => {
      throw new Error('this door sticks');
    },
    (context: string, how: How) => void called.push(`last ${context} ${how}`),
  ];

  test('are called once, with how it ended, also past one that throws', () => {
    called.length = 0;
    {
      using life = new TreeLife<string, How>(doors, 'failed');
      life.begin('tree');
      life.end('done');
    }
    expect(called).toEqual(['first tree done', 'last tree done']);
    expect(logged.join('')).toContain('this door sticks');
  });

  test('are told of a failure when an error leaves the scope', () => {
    called.length = 0;
    expect(() => {
      using life = new TreeLife<string, How>(doors, 'failed');
      life.begin('tree');
      throw new Error('something else');
    }).toThrow('something else');
    expect(called).toEqual(['first tree failed', 'last tree failed']);
  });

  test('are not called for what never began', () => {
    called.length = 0;
    {
      using _ = new TreeLife<string, How>(doors, 'failed');
    }
    expect(called).toEqual([]);
  });
});
