// SPDX-License-Identifier: Apache-2.0
// compose_nodemailer: the yardstick of bench_compose. Nodemailer composes the mails of
// tests/bench/bench_compose.c (which prints them as JSON with --mail) for as many seconds as the
// first argument says. Prints one JSON line: messages a second of CPU time, by name of the bench.
'use strict';
const MailComposer = require('nodemailer/lib/mail-composer');
const fs = require('fs');
const { options, version } = require('./nodemailer_mail');

const seconds = Number(process.argv[2] || 2);
const mails = JSON.parse(fs.readFileSync(0, 'utf8'));

function compose(mail) {
	const composer = new MailComposer(options(mail));
	return new Promise((resolve, reject) => {
		composer.compile().build((error, message) => (error ? reject(error) : resolve(message)));
	});
}

async function bench(mail) {
	for (let i = 0; i < 300; i++) { // let the compiler warm up
		await compose(mail);
	}
	const start = process.cpuUsage();
	let done = 0;
	let bytes = 0;
	let spent = 0;
	do {
		for (let i = 0; i < 50; i++) {
			bytes += (await compose(mail)).length;
		}
		done += 50;
		const used = process.cpuUsage(start);
		spent = (used.user + used.system) / 1e6;
	} while (spent < seconds);
	return { rate: done / spent, bytes: Math.round(bytes / done) };
}

(async () => {
	const out = { version };
	for (const mail of mails) {
		out[mail.name] = await bench(mail);
	}
	console.log(JSON.stringify(out));
})();
