// SPDX-License-Identifier: Apache-2.0
// send_nodemailer: the yardstick of cpu_per_message: Nodemailer's pooled transport sends the template of the
// bench to so many recipients. Prints one JSON line: us of CPU a message, once the compiler is warm.
//   send_nodemailer.js PORT CONNECTIONS MESSAGES TEXT-FILE HTML-FILE
'use strict';
const nodemailer = require('nodemailer');
const fs = require('fs');
const { options, version } = require('./nodemailer_mail');

const [port, connections, messages] = process.argv.slice(2, 5).map(Number);
const [text, html] = process.argv.slice(5, 7).map((name) => fs.readFileSync(name, 'utf8'));
const transport = nodemailer.createTransport({
	pool: true, host: '127.0.0.1', port, ignoreTLS: true, maxConnections: connections, maxMessages: Infinity,
});

function mail(i) {
	return options({
		from: 'bench@shop.example', from_name: 'Bench', to: 'u' + i + '@d' + (i % 1000) + '.example', to_name: 'Customer ' + i,
		subject: 'News for {{name}}', text, html,
		values: { name: 'Customer ' + i, points: String(i % 1000), plan: 'gold', unsubscribe_url: 'https://shop.example/u/' + i },
	});
}

// as many at once as keep all connections busy
async function send(count) {
	let next = 0;
	const lane = async () => {
		while (next < count) {
			await transport.sendMail(mail(next++));
		}
	};
	await Promise.all(Array.from({ length: 4 * connections }, lane));
}

(async () => {
	await send(Math.min(1000, messages));
	const start = process.cpuUsage();
	await send(messages);
	const used = process.cpuUsage(start);
	console.log(JSON.stringify({ version, us: (used.user + used.system) / messages }));
	transport.close();
})();
