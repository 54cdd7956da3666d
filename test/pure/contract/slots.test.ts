import { describe, expect, test } from 'bun:test';
import { type HasSlots, KeyedSlot, Slot, SlotStore } from '../../../src/contract/slots.ts';

const scope = (): HasSlots => ({ slots: new SlotStore() });

describe('slots', () => {
  test('are filled once in each scope, when they are asked for', () => {
    let made = 0;
    const slot = new Slot((_: HasSlots) => ({ number: ++made }));
    const [one, other] = [scope(), scope()];
    expect(slot.ifMade(one)).toBeUndefined();
    expect(slot.of(one)).toBe(slot.of(one));
    expect(slot.ifMade(one)).toBe(slot.of(one));
    expect(slot.of(other)).not.toBe(slot.of(one));
    expect(made).toBe(2);
  });

  test('do not clash, whatever is in them', () => {
    const [one, other] = [new Slot((_: HasSlots) => 1), new Slot((_: HasSlots) => 2)];
    const where = scope();
    expect([one.of(where), other.of(where)]).toEqual([1, 2]);
  });

  test('an undefined content is a content', () => {
    let asked = 0;
    const slot = new Slot((_: HasSlots): undefined => void asked++);
    const where = scope();
    slot.of(where);
    slot.of(where);
    expect(asked).toBe(1);
  });

  test('what could not be made is tried again', () => {
    let asked = 0;
    const slot = new Slot((_: HasSlots) => {
      if (asked++ === 0) throw new Error('not yet');
      return asked;
    });
    const where = scope();
    expect(() => slot.of(where)).toThrow('not yet');
    expect(slot.of(where)).toBe(2);
  });

  test('with keys: one content for each', () => {
    const made: string[] = [];
    const slot = new KeyedSlot((_: HasSlots, key: string) => made.push(key));
    const where = scope();
    expect([slot.of(where, 'a'), slot.of(where, 'b'), slot.of(where, 'a')]).toEqual([1, 2, 1]);
  });
});
