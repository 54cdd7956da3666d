/**
 * sendmail, as its package runs it: a daemon that also runs the queue, and a process for every session. One session is
 * in the middle of the text of a message (DATA), another has named a recipient and not said DATA yet.
 */
import { readFileSync } from 'node:fs';
import { same } from './dialogue.mjs';
import { freePort } from './place.mjs';

const LINES = 4000;

/** The settings, made by sendmail's own macros: everything is in the folder of the place, and messages stay queued. */
function settings(place) {
  const source = [
    "divert(-1)\ninclude(`/usr/share/sendmail/cf/m4/cf.m4')",
    "OSTYPE(`debian')\ndefine(`confDOMAIN_NAME', `proof.test')",
    `define(\`QUEUE_DIR', \`${place.path('queue')}')\ndefine(\`ALIAS_FILE', \`')`,
    `define(\`confHOST_STATUS_DIRECTORY', \`')\ndefine(\`confPID_FILE', \`${place.path('pid')}')`,
    `define(\`STATUS_FILE', \`${place.path('statistics')}')\ndefine(\`confDELIVERY_MODE', \`queue')`,
    "define(`confCF_VERSION', `proof')\ndefine(`confDONT_BLAME_SENDMAIL', `GroupWritableDirPathSafe')",
    "FEATURE(`no_default_msa')\nFEATURE(`accept_unresolvable_domains')\nFEATURE(`nocanonify')",
    `DAEMON_OPTIONS(\`Family=inet, Name=MTA, Port=${place.port}, Addr=127.0.0.1')`,
    "LOCAL_DOMAIN(`proof.test')\nMAILER(`local')\nMAILER(`smtp')\n",
  ].join('\n');
  return place.file('sendmail.cf', place.must('m4', place.file('sendmail.m4', source)));
}

/** A session that has greeted the server. */
async function session(place, name) {
  const smtp = await place.dial(name, place.port);
  await smtp.hear(/^220 .*\r\n/);
  await smtp.ask('EHLO client.test\r\n', /^250 .*\r\n/m);
  return smtp;
}

async function envelope(smtp) {
  await smtp.ask('MAIL FROM:<someone@proof.test>\r\n', /^250 2\.1\.0 .*\r\n/);
  await smtp.ask('RCPT TO:<root@proof.test>\r\n', /^250 2\.1\.5 .*\r\n/);
}

export default [
  {
    name: 'sendmail',
    packages: ['sendmail-bin', 'sendmail-cf', 'm4'],
    async start(place) {
      place.port = await freePort();
      place.folder('queue');
      place.must('chmod', '700', place.path('queue'));
      place.start('/usr/sbin/sendmail-mta', ['-C', settings(place), '-bD', '-q1h']);
      await place.listens(place.port);
    },
    async meet(place) {
      const [text, other] = [await session(place, 'DATA'), await session(place, 'RCPT')];
      /** What is in the queue of the message that was accepted. */
      const accepted = async (smtp) => {
        const [, id] = await smtp.hear(/^250 2\.0\.0 (\w+) Message accepted.*\r\n/);
        return readFileSync(place.path('queue', `df${id}`), 'latin1');
      };
      let lines;
      return {
        async before(cycle) {
          lines = Array.from({ length: LINES }, (_, i) => `line ${i} of message ${cycle}\n`);
          await envelope(text);
          await text.ask('DATA\r\n', /^354 .*\r\n/);
          const half = lines
            .slice(0, LINES / 2)
            .join('')
            .replaceAll('\n', '\r\n');
          text.say(`Subject: ${cycle}\r\n\r\n${half}half a li`);
          await envelope(other);
          await new Promise((resolve) => setTimeout(resolve, 100));
        },
        async after(cycle) {
          text.say(
            `ne\r\n${lines
              .slice(LINES / 2)
              .join('')
              .replaceAll('\n', '\r\n')}.\r\n`,
          );
          lines.splice(LINES / 2, 0, 'half a line\n');
          same('the message is whole', (await accepted(text)) === lines.join(''), true);
          await other.ask('DATA\r\n', /^354 .*\r\n/);
          other.say(`Subject: other\r\n\r\nhello ${cycle}\r\n.\r\n`);
          same('the other message', await accepted(other), `hello ${cycle}\n`);
          const anew = await session(place, 'a new session');
          await anew.ask('QUIT\r\n', /^221 .*\r\n/);
        },
        async end() {
          for (const smtp of [text, other]) await smtp.ask('QUIT\r\n', /^221 .*\r\n/);
        },
      };
    },
    ident: 'sendmail-mta',
    complaints: /SYSERR|error|NOQUEUE|lost input|collect:|timeout|did not issue/i,
  },
];
