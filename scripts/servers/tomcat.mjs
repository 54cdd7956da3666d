/**
 * Tomcat: a Java virtual machine with some dozens of threads, sockets of IPv6 that serve IPv4, and memory that its
 * compiler writes code into. The client counts in a session that only its cookie names, on a connection that is kept
 * alive; the dump cuts a POST in half.
 */
import { Agent, request } from 'node:http';
import { same } from './dialogue.mjs';
import { freePort } from './place.mjs';

const HOME = '/usr/share/tomcat10';
const BODY = 300_000;
/** Longer than the server is away: Node.js gives up after ten probes that nobody has answered, one each second. */
const PROBED_AFTER = 900_000;
const PAGE = `<%@ page contentType="text/plain" %><%
Integer n = (Integer) session.getAttribute("n"); n = n == null ? 1 : n + 1; session.setAttribute("n", n);
int length = 0; if (request.getMethod().equals("POST")) while (request.getInputStream().read() >= 0) length++;
out.print("visit " + n + " body " + length); %>
`;

async function start(place) {
  place.port = await freePort();
  const connector = `<Connector port="${place.port}" address="127.0.0.1" connectionTimeout="900000" maxKeepAliveRequests="-1" />`;
  const host = '<Host name="localhost" appBase="webapps" />';
  place.file(
    'base/conf/server.xml',
    `<Server port="-1"><Service name="Catalina">${connector}
    <Engine name="Catalina" defaultHost="localhost">${host}</Engine></Service></Server>`,
  );
  for (const name of ['web.xml', 'catalina.properties'])
    place.must('cp', `/etc/tomcat10/${name}`, place.path('base/conf'));
  for (const name of ['logs', 'temp', 'work']) place.folder(`base/${name}`);
  place.file('base/webapps/ROOT/count.jsp', PAGE);
  place.must('chown', '-R', 'tomcat:', place.path('base'));
  const java = place.must('sh', '-c', 'readlink -f "$(command -v java)"').trim();
  place.start(...place.as('tomcat', `${HOME}/bin/catalina.sh`, 'run'), {
    CATALINA_HOME: HOME,
    CATALINA_BASE: place.path('base'),
    CATALINA_TMPDIR: place.path('base/temp'),
    JAVA_OPTS: '-Djava.awt.headless=true -Xmx128m',
    JAVA_HOME: java.replace(/\/bin\/java$/, ''),
  });
  await place.listens(place.port);
}

/** A request. Returns what the server says, its cookie, and a function that sends the rest of the body. */
function visit(port, agent, cookie, body) {
  const headers = { ...(cookie ? { Cookie: cookie } : {}), ...(body ? { 'Content-Length': body } : {}) };
  const asked = request({ agent, port, host: '127.0.0.1', path: '/count.jsp', method: body ? 'POST' : 'GET', headers });
  const answer = new Promise((resolve, reject) => {
    asked.on('error', reject).on('response', async (response) => {
      let text = '';
      for await (const piece of response) text += piece;
      const [given] = response.headers['set-cookie'] ?? [];
      resolve({ text: text.trim(), cookie: given?.split(';')[0], reused: asked.reusedSocket });
    });
  });
  return { asked, answer };
}

async function meet(place) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, keepAliveMsecs: PROBED_AFTER });
  place.atEnd(() => agent.destroy());
  const get = async (given, by = agent) => {
    const { asked, answer } = visit(place.port, by, given);
    asked.end();
    return answer;
  };
  const { cookie } = await get();
  let visits = 1;
  const counts = async (by) => same('the session', (await get(cookie, by)).text, `visit ${++visits} body 0`);
  // So many that the virtual machine compiles what they run.
  for (let turn = 0; turn < 200; turn++) await counts();
  let post;
  return {
    async before() {
      await counts();
      post = visit(place.port, false, cookie, BODY);
      visits++;
      await new Promise((resolve) => post.asked.write('x'.repeat(BODY / 2), resolve));
      await new Promise((resolve) => setTimeout(resolve, 200));
    },
    async after() {
      const kept = await get(cookie);
      same('the session', [kept.text, kept.reused], [`visit ${++visits} body 0`, true]);
      post.asked.end('x'.repeat(BODY / 2));
      same('a POST in two halves', (await post.answer).text, `visit ${visits - 1} body ${BODY}`);
      await counts(false);
    },
    async end() {
      agent.destroy();
    },
  };
}

export default [{ name: 'tomcat', packages: ['tomcat10'], start, meet, complaints: /SEVERE|WARNING|Exception|Error/ }];
