// SPDX-License-Identifier: Apache-2.0
// nodemailer_mail: what the benches give to Nodemailer: a template with {{fields}} filled for one recipient.
'use strict';

function fill(template, values) {
	return template.replace(/{{(\w+)}}/g, (tag, name) => values[name]);
}

function escape(values) {
	const out = {};
	for (const name of Object.keys(values)) {
		out[name] = values[name].replace(/[&<>"']/g, (c) => '&#' + c.charCodeAt(0) + ';');
	}
	return out;
}

// mail: from, from_name, to, to_name, subject, text, html, values (with unsubscribe_url)
exports.options = (mail) => ({
	from: { name: mail.from_name, address: mail.from },
	to: { name: mail.to_name, address: mail.to },
	subject: fill(mail.subject, mail.values),
	text: fill(mail.text, mail.values),
	html: fill(mail.html, escape(mail.values)),
	messageId: '<abcdefghijklmnopqrstuvwxyz234567ab@mail.example.jp>',
	headers: {
		'List-Id': '<news.example.jp>',
		'List-Unsubscribe': '<' + mail.values.unsubscribe_url + '>, <mailto:u+x@bounce.example.jp>',
		'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
	},
});

exports.version = require('nodemailer/package.json').version;
