/** The handshake with an image streamer. */

import { bool, message, type TypeOf, text } from '../message.ts';

/** The request: the name of a file. */
export const imgStreamerRequestEntry = message('img_streamer_request_entry', () => ({
  filename: text(1),
}));
export type ImgStreamerRequestEntry = TypeOf<typeof imgStreamerRequestEntry>;

/** The response: whether the file exists. */
export const imgStreamerReplyEntry = message('img_streamer_reply_entry', () => ({
  exists: bool(1),
}));
export type ImgStreamerReplyEntry = TypeOf<typeof imgStreamerReplyEntry>;
