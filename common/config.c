/* SPDX-License-Identifier: Apache-2.0 */
/* config: see config.h. One table says everything about a key; inih reads the file. */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret.h"

enum key_type { KEY_TEXT, KEY_NUMBER, KEY_BOOL };

struct key {
	const char *section;
	const char *name;
	enum key_type type;
	size_t offset;
	const char *standard; /* default as text */
	long min, max;	      /* of numbers */
	const char *help;
};

#define TEXT(s, n, d, h)                                                                           \
	{                                                                                          \
#s, #n, KEY_TEXT, offsetof(struct config, s##_##n), d, 0, 0, h                     \
	}
#define BOOL(s, n, d, h)                                                                           \
	{                                                                                          \
#s, #n, KEY_BOOL, offsetof(struct config, s##_##n), d, 0, 0, h                     \
	}
#define NUMBER(s, n, d, lo, hi, h)                                                                 \
	{                                                                                          \
#s, #n, KEY_NUMBER, offsetof(struct config, s##_##n), d, lo, hi, h                 \
	}

static const struct key keys[] = {
	TEXT(database, url, "",
	    "PostgreSQL, as libpq takes it: postgresql://user@host/db or host=… dbname=…. Without "
	    "a user each program logs in with its own role (kairan_producer, …)"),
	BOOL(database, prepared, "yes", "named prepared statements; no behind PgBouncer"),
	NUMBER(database, timeout_s, "120", 1, 3600,
	    "longest wait of dispatcher and feedback for the answer to a statement; then the "
	    "connection is opened anew"),
	TEXT(redis, url, "redis://127.0.0.1:6379/0",
	    "redis://[:password@]host:port/number or unix:///path[?db=number]"),
	TEXT(keys, file, "/etc/kairan/token.key",
	    "secret keys of return paths and links, made by kairan init; mode 600"),
	TEXT(log, level, "info", "error, warn, info or debug"),
	BOOL(contain, enable, "yes",
	    "give up at the start what the programs never need: system calls (seccomp) and files "
	    "(Landlock)"),

	NUMBER(producer, page, "100000", 1, 10000000, "send rows made in one statement"),
	NUMBER(producer, backlog, "20000", 1, 10000000,
	    "jobs of one run kept in Redis; more are pushed as they are taken"),
	NUMBER(producer, segment_timeout_s, "600", 1, 86400, "longest time a segment may run"),
	NUMBER(producer, poll_ms, "500", 10, 60000, "time between two looks at what is due"),
	NUMBER(producer, dead_after_s, "1800", 5, 86400,
	    "silence after which a dispatcher counts as dead and what it held is in doubt; more "
	    "than twice the 600 s an answer to the final dot may take"),
	NUMBER(producer, expire_unsent_s, "0", 0, 5184000,
	    "age of a run after which recipients who were never tried expire as well; 0: never"),
	NUMBER(producer, resend_after_s, "900", 0, 604800,
	    "with on_doubt = resend: how long evidence is waited for before a recipient in doubt "
	    "is "
	    "sent to once more"),
	NUMBER(producer, hook_timeout_s, "30", 1, 3600, "longest time a hook may run"),
	TEXT(producer, metrics_listen, "",
	    "HTTP listener for /metrics, on the loopback only: 127.0.0.1:port; empty: none"),

	TEXT(dispatcher, name, "", "name of this dispatcher; empty: host name"),
	TEXT(dispatcher, state_dir, "/var/lib/kairan",
	    "folder of the dispatcher's lock and journal, on a local disk"),
	NUMBER(dispatcher, journal_slots, "131072", 1024, 16777216,
	    "size of a new journal, 128 bytes each: so many messages back it can tell what was "
	    "sent"),
	NUMBER(dispatcher, batch, "256", 1, 4096, "most recipients claimed at once"),
	TEXT(dispatcher, retry_ladder,
	    "7m,17m,37m,79m,163m,331m | greylisted 6m,17m,37m,79m,163m,331m | "
	    "mailbox_full 331m | dns 3m,7m,17m,37m,79m,163m,331m",
	    "waits between tries of a temporary failure, some kinds with their own; the last one "
	    "repeats until expire_after_s"),
	NUMBER(dispatcher, expire_after_s, "86400", 1, 1209600,
	    "age of a run after which a temporary failure is final"),
	NUMBER(dispatcher, recheck_s, "60", 1, 3600,
	    "age of a claim at which suppression is looked at again before sending"),
	NUMBER(dispatcher, poll_ms, "250", 10, 60000,
	    "time between two looks at which runs are running; pause takes effect within it"),
	NUMBER(dispatcher, join_s, "5", 0, 3600,
	    "a dispatcher that joins others waits so long before it claims, so that a standby "
	    "knows of it; longer than standbys lag behind"),
	TEXT(dispatcher, transport, "relay",
	    "relay: SMTP to [relay]; mx: SMTP to the mail servers of each domain, see [mx]; ses: "
	    "Amazon SES by its API, see [ses]"),
	TEXT(dispatcher, route, "",
	    "the route of pace.routes whose recipients this dispatcher sends; empty: all those "
	    "that have "
	    "none"),
	TEXT(dispatcher, resolver, "",
	    "DNS server that mx asks: address, address:port or [address]:port, several between "
	    "commas; empty: the system's"),
	TEXT(dispatcher, metrics_listen, "",
	    "HTTP listener for /metrics, on the loopback only: 127.0.0.1:port; empty: none"),

	TEXT(pace, hour_guard, "strict",
	    "strict: providers that are strict in the table get nothing around the full hour; all: "
	    "and to the soft ones no run begins around :00 and :30; off: neither"),
	NUMBER(pace, guard_lead_s, "10", 0, 3300,
	    "how much before the hour guard the last message leaves, so that it is delivered by "
	    "then"),
	NUMBER(pace, takeover_s, "60", 1, 3600,
	    "how long a calendar in Redis that a newer producer made, which our database does not "
	    "know, keeps ours out"),
	TEXT(pace, providers, "",
	    "file with rows over the built-in table of providers: groups, domains, rates; empty: "
	    "none"),
	TEXT(pace, mx_groups, "auto",
	    "whether runs ask DNS at which provider the larger domains have their mail that the "
	    "table "
	    "does not name: yes; no; auto: with dispatcher.transport = mx"),
	NUMBER(pace, mx_wait_s, "5", 1, 60,
	    "longest wait for DNS when a run is planned; what it has not said by then counts as "
	    "not "
	    "known"),
	BOOL(pace, group_limits, "no",
	    "hold each provider, and each large site, to its rate in the table, all streams and "
	    "dispatchers together"),
	TEXT(pace, account_rate, "",
	    "most that all streams may send together: N/s, N/min, N/h or N/d; empty: no limit"),
	BOOL(pace, adaptive, "yes",
	    "slow down, wait or stop where the replies of a provider ask for it, all dispatchers "
	    "together"),
	TEXT(pace, routes, "",
	    "GROUP=ROUTE between commas: provider groups that leave only by dispatchers with that "
	    "dispatcher.route, from runs planned then on; the others by dispatchers without one"),
	TEXT(pace, guard_soft_factor, "1",
	    "with hour_guard = all: part of its rate that a soft group has from 2 minutes before "
	    "to 4 "
	    "behind :00 and :30, 0.1 to 1"),
	TEXT(pace, route_rates, "",
	    "ROUTE=RATE between commas: most that all dispatchers of a route may send together, "
	    "but for "
	    "transactional mail; empty: no limit"),
	TEXT(pace, mode, "together",
	    "together: all providers of a run end at the same time; asap: each as fast as it may"),
	NUMBER(pace, quota_24h, "0", 0, 1000000000,
	    "recipients that all streams together may be sent to in any 24 hours; 0: no limit but "
	    "that of Amazon SES, which is asked for it"),
	NUMBER(pace, urgent_share, "10", 0, 50,
	    "per cent of the account's and a stream's rate that other mail leaves to transactional "
	    "mail, once there was some in the last 7 days; 0: it waits for its turn"),

	TEXT(relay, host, "127.0.0.1",
	    "relays, comma separated: host, host:port, [IPv6]:port or unix:/path, each perhaps "
	    "with weight=N (its share) or backup (only while no other works)"),
	NUMBER(relay, port, "25", 1, 65535, "port of those without one"),
	TEXT(relay, protocol, "smtp", "smtp or lmtp"),
	TEXT(relay, tls, "opportunistic",
	    "off; opportunistic: STARTTLS when offered, unverified; required: STARTTLS, verified; "
	    "implicit: TLS from the first byte (port 465), verified"),
	TEXT(relay, tls_name, "", "name the certificate must carry; empty: the relay's"),
	TEXT(relay, tls_ca_file, "", "trusted certificate authorities, PEM; empty: the system's"),
	TEXT(relay, tls_cert_file, "", "client certificate and its chain, PEM; empty: none"),
	TEXT(relay, tls_key_file, "", "its key, PEM; mode 600"),
	BOOL(relay, tls_only_1_3, "no", "refuse TLS 1.2; older versions are never spoken"),
	TEXT(relay, auth_file, "",
	    "credentials to log in with, mode 600; needs tls required or implicit; empty: none"),
	TEXT(relay, source, "", "local address to connect from; empty: the kernel's choice"),
	TEXT(relay, ehlo, "", "name in EHLO; empty: host name"),
	NUMBER(relay, connections, "16", 1, 1000, "most connections of one dispatcher"),
	NUMBER(relay, messages_per_connection, "1000", 1, 1000000,
	    "messages before a connection is closed"),
	NUMBER(relay, idle_s, "5", 1, 300, "idle time before a connection is closed"),
	NUMBER(relay, connect_timeout_s, "30", 1, 300, "longest wait for a connection"),
	NUMBER(relay, command_timeout_s, "300", 1, 3600,
	    "longest wait for a reply to a command (RFC 5321: 300, DATA 120)"),
	NUMBER(relay, dot_timeout_s, "600", 1, 7200,
	    "longest wait for the reply to the final dot; less than 600 puts recipients in doubt "
	    "that were sent"),
	BOOL(
	    relay, pipelining, "yes", "send MAIL, RCPT and DATA together when the relay offers it"),
	BOOL(relay, next_behind_dot, "yes",
	    "send the next envelope behind the final dot of the present message"),
	BOOL(relay, chunking, "no", "send messages by BDAT when the relay offers CHUNKING"),
	TEXT(relay, ses_configuration_set, "",
	    "Amazon SES: add X-SES-CONFIGURATION-SET with this name; empty: no"),
	BOOL(relay, ses_tags, "no",
	    "Amazon SES: add X-SES-MESSAGE-TAGS with kairan=TOKEN, so that events name the "
	    "recipient"),

	NUMBER(mx, port, "25", 1, 65535, "port of mail servers"),
	TEXT(mx, source, "",
	    "addresses of this host to send from, in turn, each with the name it says in EHLO: "
	    "ADDRESS NAME, ADDRESS NAME; empty: the kernel's choice with relay.ehlo"),
	NUMBER(mx, connections, "100", 1, 10000, "most connections of one dispatcher"),
	TEXT(mx, source_rates, "",
	    "most that may leave from an address, of all dispatchers that have it: ADDRESS=RATE, "
	    "or "
	    "ADDRESS=SCHEDULE@YYYY-MM-DD, a warm-up since that day; empty: no limit"),
	NUMBER(mx, connections_per_source, "0", 0, 10000,
	    "most connections from each address, of all dispatchers that have it; 0: no limit"),
	NUMBER(mx, connections_per_destination, "4", 1, 100,
	    "most of them to one destination: domains with the same mail servers"),
	NUMBER(mx, messages_per_connection, "50", 1, 1000000,
	    "messages before a connection is closed"),
	NUMBER(mx, idle_s, "5", 1, 300, "idle time before a connection is closed"),
	NUMBER(mx, connect_timeout_s, "30", 1, 300, "longest wait for a connection"),
	TEXT(mx, tls, "opportunistic",
	    "opportunistic: STARTTLS when offered, unverified, in clear when it does not work; "
	    "off. "
	    "A policy of the domain (mta_sts) or of the server (dane) is stronger than both"),
	BOOL(mx, mta_sts, "yes", "obey MTA-STS policies of domains (RFC 8461)"),
	TEXT(mx, dane, "no",
	    "yes: obey the TLSA records of mail servers (DANE, RFC 7672) as a validating resolver "
	    "on this host vouches for them; trusted: one elsewhere, which nobody can come "
	    "between; no"),
	NUMBER(mx, sts_port, "443", 1, 65535, "port of the servers of policies"),
	TEXT(mx, ca_file, "",
	    "certificate authorities for policies and the mail servers they name, PEM; empty: the "
	    "system's"),
	BOOL(mx, private, "no", "connect to mail servers at private and loopback addresses, too"),
	NUMBER(mx, waiting, "4000", 1, 1000000, "recipients held in memory for all destinations"),
	NUMBER(mx, waiting_per_destination, "200", 1, 1000000,
	    "of them for one destination when half of them are taken; more are put off without a "
	    "step of the retry ladder"),
	NUMBER(mx, patience_s, "60", 1, 3600,
	    "longest time a recipient is held for its destination before it is put off"),
	NUMBER(mx, rest_s, "60", 1, 3600,
	    "first rest of a destination that cannot be reached; doubles up to longest_rest_s"),
	NUMBER(mx, longest_rest_s, "3600", 1, 86400, "longest rest of a destination"),

	TEXT(ses, region, "",
	    "e.g. ap-northeast-1; empty: AWS_REGION, AWS_DEFAULT_REGION, the profile's"),
	TEXT(ses, endpoint, "",
	    "https://host[:port] of the API; empty: AWS_ENDPOINT_URL_SESV2, AWS_ENDPOINT_URL, the "
	    "region's"),
	TEXT(ses, ca_file, "",
	    "certificate authorities for it; empty: AWS_CA_BUNDLE, else the system's"),
	TEXT(ses, configuration_set, "", "configuration set of every message; empty: none"),
	TEXT(ses, identity_arn, "", "ARN of a sender that others let us use; empty: our own"),
	TEXT(ses, feedback_address, "",
	    "verified address to which SES mails bounces and complaints; empty: none"),
	TEXT(ses, tenant, "", "tenant of every message; empty: none"),
	TEXT(ses, price_per_1000, "0.10",
	    "what SES asks for 1,000 mails, for the cost that campaign plan shows, in USD without "
	    "attachments, volume discounts and dedicated addresses"),
	TEXT(ses, price_date, "2025-01", "when price_per_1000 was looked up"),
	NUMBER(ses, rate, "0", 0, 100000,
	    "messages a second of this dispatcher; 0: 90 % of what the account may"),
	NUMBER(ses, connections, "32", 1, 1000, "most requests under way at once"),
	NUMBER(ses, connect_timeout_s, "10", 1, 300, "longest wait for a connection"),
	NUMBER(ses, timeout_s, "60", 1, 900,
	    "longest wait for an answer; then the recipient is in doubt"),
	NUMBER(ses, idle_s, "20", 1, 3600, "idle time after which a connection is not used again"),

	TEXT(message, id_domain, "", "domain of Message-ID; empty: that of the sender"),
	TEXT(message, sender_id, "",
	    "last part of Feedback-ID, 5 to 15 letters and digits that never change; empty: no "
	    "Feedback-ID"),

	TEXT(scan, clamd, "",
	    "ClamAV daemon that files of campaigns are shown to: unix:/run/clamav/clamd.ctl or "
	    "127.0.0.1:3310; empty: none"),

	TEXT(dkim, dir, "/etc/kairan/dkim",
	    "folder of DKIM keys, DOMAIN/SELECTOR.pem, made by kairan dkim new; mail from a domain "
	    "without keys is not signed"),
	TEXT(dkim, also, "",
	    "domains, comma separated, whose keys sign all mail besides those of its sender"),
	NUMBER(dkim, threads, "0", 0, 256, "threads that sign; 0: one per core"),
	NUMBER(dkim, expire_s, "604800", 0, 7776000,
	    "age at which a signature ends (x=); longer than a relay tries; 0: never"),

	TEXT(
	    feedback, domain, "", "domain of the return path, whose mail comes to kairan-feedback"),
	TEXT(feedback, lmtp_listen, "",
	    "LMTP listener: unix:/path, 127.0.0.1:port, or network:address:port in a closed "
	    "network; "
	    "empty: none"),
	TEXT(feedback, http_listen, "", "HTTP listener for SNS: 127.0.0.1:port; empty: none"),
	TEXT(feedback, http_path, "/sns", "path of the SNS endpoint"),
	TEXT(feedback, maildir, "", "Maildir to watch; empty: none"),
	TEXT(feedback, mbox, "",
	    "mbox file that is read and emptied, such as /var/mail/bounces; needs reply.maildir; "
	    "empty: none"),
	TEXT(feedback, sns_topics, "", "ARNs of the topics that are accepted, comma separated"),
	BOOL(feedback, sns_require_v2, "no", "refuse signature version 1 (SHA-1)"),
	TEXT(feedback, sns_cert_dir, "", "folder with SNS signing certificates known beforehand"),
	TEXT(feedback, sns_ca_file, "", "certificate authorities for them; empty: the system's"),
	TEXT(feedback, sns_subjects, "sns.amazonaws.com", "names an SNS certificate may carry"),
	NUMBER(feedback, batch, "500", 1, 5000, "most events committed at once"),
	NUMBER(feedback, batch_ms, "20", 0, 1000, "longest wait for a batch to fill"),
	TEXT(feedback, metrics_listen, "",
	    "HTTP listener for /metrics and kairan status, on the loopback only: 127.0.0.1:port; "
	    "empty: none"),

	TEXT(webhook, path, "",
	    "path on feedback.http_listen for feedback as signed JSON; empty: none"),
	TEXT(webhook, keys_file, "/etc/kairan/webhook.key",
	    "its keys, lines of ID HEX as in keys.file, all of them good; mode 600"),
	NUMBER(webhook, window_s, "300", 10, 86400, "how far its timestamp may be from our clock"),
	NUMBER(webhook, rate_per_s, "200", 1, 100000, "most signed documents a second"),

	TEXT(smtp, listen, "",
	    "SMTP listener for bounces straight from the internet: 0.0.0.0:25, [::]:25; empty: "
	    "none"),
	TEXT(smtp, tls_cert_file, "", "certificate for STARTTLS and its chain, PEM; empty: no TLS"),
	TEXT(smtp, tls_key_file, "", "its key, PEM; mode 600"),
	BOOL(smtp, tls_required, "no", "take no mail without TLS"),
	TEXT(smtp, rules_file, "",
	    "which recipients are taken; empty: tokens of ours, and postmaster, abuse and fbl of "
	    "feedback.domain"),
	TEXT(smtp, allow, "", "networks that alone may connect, comma separated; empty: all"),
	TEXT(smtp, deny, "", "networks that may not connect, comma separated"),
	NUMBER(smtp, connections, "200", 1, 10000, "most connections at once"),
	NUMBER(
	    smtp, connections_per_ip, "20", 1, 10000, "of them from one IPv4 address or IPv6 /64"),
	NUMBER(smtp, idle_s, "300", 1, 3600, "silence that ends a connection (RFC 5321: 300)"),
	NUMBER(smtp, session_s, "1800", 10, 86400, "longest connection"),
	NUMBER(smtp, size_kb, "1024", 64, 30720,
	    "largest mail in kB; this times smtp.connections may be needed as memory"),

	TEXT(reply, maildir, "",
	    "Maildir in which mails for a person are kept: replies, and what is not understood; "
	    "empty: only their sender, subject and beginning are"),
	TEXT(reply, forward_to, "",
	    "address to which they are forwarded, too; needs reply.maildir; empty: none"),
	TEXT(reply, relay, "smtp://127.0.0.1:25",
	    "by way of this server: smtp://host[:port], smtps://host"),
	TEXT(reply, ca_file, "", "certificate authorities for it; empty: the system's"),

	TEXT(sendmail, stream, "transactional", "stream of kairan sendmail"),
	NUMBER(sendmail, max_bytes, "10000000", 1000, 30000000, "largest mail it takes"),
	NUMBER(sendmail, keep_days, "30", 1, 3650,
	    "days after which the content of a mail whose recipients are settled is emptied"),

	TEXT(web, base, "",
	    "address in front of the pages for recipients, as they reach it: https://mail.example; "
	    "needed for mails that ask to confirm"),
	TEXT(web, language, "en",
	    "language of the pages, en or ja, when neither browser nor customer says"),
	TEXT(web, words, "", "folder with wording of your own: words-ja.txt, address-ja.txt, …"),
	TEXT(web, from_address, "", "sender of the mails that ask to confirm"),
	TEXT(web, from_name, "", "his name"),
	BOOL(web, address_page, "yes",
	    "let recipients give a new address; needs web.base and web.from_address"),
	NUMBER(web, confirm_days, "7", 1, 365, "days in which a link to confirm is good"),
	TEXT(web, machines, "",
	    "file with rules of your own for what is a machine's open or click, read before ours"),

	NUMBER(retention, send_days, "0", 0, 36500,
	    "days after its end for which the recipients of a run are kept, 60 or more: links in "
	    "mails need them; the counts stay; 0: for ever"),
	NUMBER(retention, event_days, "0", 0, 36500,
	    "days for which events are kept, 60 or more, dropped by whole months; 0: for ever"),
	NUMBER(retention, kept_days, "90", 0, 36500,
	    "days for which notices are kept whole that could not be read or were refused; 0: for "
	    "ever"),

	TEXT(sqs, queue_url, "", "queue of Amazon SQS to poll, by its URL; empty: none"),
	TEXT(sqs, region, "", "its region; empty: that in the URL, else AWS_REGION, the profile's"),
	TEXT(sqs, endpoint, "",
	    "https://host[:port] of the API; empty: AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL, the "
	    "region's"),
	TEXT(sqs, ca_file, "",
	    "certificate authorities for it; empty: AWS_CA_BUNDLE, else the system's"),
	NUMBER(sqs, wait_s, "20", 1, 20, "longest wait of one poll"),
	NUMBER(sqs, visibility_s, "120", 3, 43200,
	    "time for which a message taken is hidden from others; it grows while it is needed"),
	BOOL(sqs, accept_unsigned, "no",
	    "take bodies without a signature of SNS, too: raw delivery, EventBridge. The queue's "
	    "policy decides then who can speak"),
	NUMBER(sqs, poison_after, "5", 1, 1000,
	    "times after which a message that is not acceptable is kept aside and deleted"),

	TEXT(s3, buckets, "",
	    "buckets of Amazon S3 from which mails may be read that Amazon SES received, comma "
	    "separated; empty: none"),
	TEXT(s3, region, "", "their region; empty: AWS_REGION, the profile's"),
	TEXT(s3, endpoint, "",
	    "https://host[:port] of the API; empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the "
	    "region's"),
	TEXT(s3, ca_file, "",
	    "certificate authorities for it; empty: AWS_CA_BUNDLE, else the system's"),

	TEXT(postfix_log, file, "", "log of the Postfix on this host to follow; empty: none"),
	TEXT(postfix_log, state_file, "/var/lib/kairan/postfix_log.place",
	    "where the place in it is kept"),
	TEXT(postfix_log, forwarders, "",
	    "relay hosts behind it that only pass mail on, comma separated: their answer proves no "
	    "delivery"),

	TEXT(mailbox, url, "",
	    "mailbox to empty: imaps://host[:port], pop3s://host, or imap:// and pop3:// with "
	    "STARTTLS; "
	    "empty: none"),
	TEXT(mailbox, user, "", "login name"),
	TEXT(mailbox, password_file, "", "file with the password, mode 600"),
	TEXT(mailbox, folder, "INBOX", "folder, of IMAP"),
	TEXT(mailbox, after, "delete",
	    "what is done to a mail that was understood and committed: delete, seen (of IMAP)"),
	BOOL(mailbox, tls, "yes", "no: without TLS, on the loopback only"),
	TEXT(mailbox, ca_file, "", "certificate authorities for it; empty: the system's"),
	NUMBER(mailbox, poll_s, "60", 1, 86400, "time between two looks"),
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

static bool
is_secret(const struct key *k)
{
	return strcmp(k->name, "url") == 0;
}

static int
set_value(struct config *c, const struct key *k, const char *value, struct err *err)
{
	char *base = (char *)c;

	if (k->type == KEY_TEXT) {
		char *copy = strdup(value), **slot = (char **)(void *)(base + k->offset);

		if (copy == NULL)
			return err_set(err, "no memory");
		free(*slot);
		*slot = copy;
		return 0;
	}
	if (k->type == KEY_BOOL) {
		static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0",
			"1" };

		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			if (strcasecmp(value, words[i]) == 0) {
				*(bool *)(void *)(base + k->offset) = i % 2 == 1;
				return 0;
			}
		}
		return err_set(
		    err, "%s.%s must be yes or no, not '%s'", k->section, k->name, value);
	}
	char *end;
	long number;

	errno = 0;
	number = strtol(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0' || number < k->min || number > k->max)
		return err_set(err, "%s.%s must be a number from %ld to %ld, not '%s'", k->section,
		    k->name, k->min, k->max, value);
	*(long *)(void *)(base + k->offset) = number;
	return 0;
}

struct reading {
	struct config *config;
	struct err why;
};

static int
on_line(void *user, const char *section, const char *name, const char *value)
{
	struct reading *r = user;

	if (r->why.msg[0] != '\0')
		return 0; /* inih goes on after an error: keep the first one */
	for (size_t i = 0; i < KEYS; i++)
		if (strcmp(keys[i].section, section) == 0 && strcmp(keys[i].name, name) == 0)
			return set_value(r->config, &keys[i], value, &r->why) == 0;
	if (section[0] == '\0')
		(void)err_set(&r->why, "key '%s' stands before any [section]", name);
	else
		(void)err_set(&r->why, "unknown key %s.%s; `kairan config --sample` lists all",
		    section, name);
	return 0;
}

/* libpq URLs with a password and redis URLs with one make the file a secret. */
static bool
has_password(const struct config *c)
{
	const char *at = strchr(c->redis_url, '@'), *scheme = strstr(c->database_url, "://");

	if (at != NULL || strstr(c->database_url, "password=") != NULL)
		return true;
	if (scheme == NULL)
		return false;
	at = strchr(scheme + 3, '@');
	return at != NULL && memchr(scheme + 3, ':', (size_t)(at - scheme - 3)) != NULL;
}

/* inih would take the line for one that ends there: a list would lose what stands behind. */
static int
refuse_nul(FILE *file, const char *path, struct err *err)
{
	size_t line = 1;
	int c;

	while ((c = getc_unlocked(file)) != EOF) {
		line += c == '\n';
		if (c == '\0') {
			err->offset = line;
			return err_set(err, "%s:%zu: a NUL byte; take it out", path, line);
		}
	}
	rewind(file);
	return 0;
}

static int
read_file(struct config *c, const char *path, struct err *err)
{
	struct reading r = { .config = c };
	FILE *file = fopen(path, "re");
	struct stat st;
	int line, result = -1;

	if (file == NULL)
		return err_set(err, "cannot open configuration %s: %s", path, strerror(errno));
	if (fstat(fileno(file), &st) < 0 || !S_ISREG(st.st_mode)) {
		(void)err_set(err, "configuration %s is not a regular file", path);
		goto out;
	}
	if (refuse_nul(file, path, err) != 0)
		goto out;
	line = ini_parse_file(file, on_line, &r);
	if (line != 0) {
		err->offset = line > 0 ? (size_t)line : 0;
		(void)err_set(err, "%s:%d: %s", path, line,
		    r.why.msg[0] != '\0' ? r.why.msg : "expected [section] or key = value");
		goto out;
	}
	if (!secret_is_private(path, st.st_mode) && has_password(c)) {
		(void)err_set(err,
		    "%s holds a password and can be read by others; run: chmod 600 %s", path, path);
		goto out;
	}
	result = 0;
out:
	fclose(file);
	return result;
}

static int
read_environment(struct config *c, struct err *err)
{
	char name[100];
	struct err why;

	for (size_t i = 0; i < KEYS; i++) {
		int n = snprintf(name, sizeof(name), "KAIRAN_%s_%s", keys[i].section, keys[i].name);
		const char *value;

		for (int k = 0; k < n; k++)
			name[k] = (char)toupper((unsigned char)name[k]);
		value = getenv(name);
		if (value != NULL && set_value(c, &keys[i], value, &why) < 0)
			return err_set(err, "environment %s: %s", name, why.msg);
	}
	return 0;
}

static int
fill_host_name(char **slot, struct err *err)
{
	char host[256] = "";

	if ((*slot)[0] != '\0')
		return 0;
	if (gethostname(host, sizeof(host) - 1) < 0 || host[0] == '\0')
		return err_set(err, "this host has no name");
	free(*slot);
	*slot = strdup(host);
	return *slot != NULL ? 0 : err_set(err, "no memory");
}

int
config_defaults(struct config *c, struct err *err)
{
	*c = (struct config){ 0 };
	for (size_t i = 0; i < KEYS; i++)
		if (set_value(c, &keys[i], keys[i].standard, err) < 0)
			return -1;
	return 0;
}

int
config_set(struct config *c, const char *key, const char *value, struct err *err)
{
	for (size_t i = 0; i < KEYS; i++) {
		size_t n = strlen(keys[i].section);

		if (strncmp(key, keys[i].section, n) == 0 && key[n] == '.' &&
		    strcmp(key + n + 1, keys[i].name) == 0)
			return set_value(c, &keys[i], value, err);
	}
	return err_set(err, "the configuration has no key '%s'", key);
}

int
config_load(struct config *c, const char *path, struct err *err)
{
	if (config_defaults(c, err) < 0)
		return -1;
	if (path == NULL)
		path = getenv("KAIRAN_CONFIG");
	if (path == NULL && access(CONFIG_DEFAULT_FILE, F_OK) == 0)
		path = CONFIG_DEFAULT_FILE;
	if (path != NULL && path[0] != '\0') {
		c->source_file = strdup(path);
		if (c->source_file == NULL)
			return err_set(err, "no memory");
		if (read_file(c, path, err) < 0)
			return -1;
	}
	if (read_environment(c, err) < 0)
		return -1;
	return fill_host_name(&c->dispatcher_name, err) < 0 ? -1
							    : fill_host_name(&c->relay_ehlo, err);
}

void
config_release(struct config *c)
{
	for (size_t i = 0; i < KEYS; i++)
		if (keys[i].type == KEY_TEXT)
			free(*(char **)(void *)((char *)c + keys[i].offset));
	free(c->source_file);
	*c = (struct config){ 0 };
}

void
config_print_sample(FILE *out)
{
	const char *section = "";

	fputs("# Kairan configuration. Every key may also be given as KAIRAN_SECTION_KEY in the\n"
	      "# environment, e.g. KAIRAN_DATABASE_URL. The lines below show the defaults.\n",
	    out);
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(section, keys[i].section) != 0)
			fprintf(out, "\n[%s]\n", section = keys[i].section);
		fprintf(out, "# %s\n#%s = %s\n", keys[i].help, keys[i].name, keys[i].standard);
	}
}

/* The value as text; text is room for a number. */
static const char *
value_text(const struct config *c, const struct key *k, char text[24])
{
	const char *at = (const char *)c + k->offset;

	if (k->type == KEY_NUMBER)
		(void)snprintf(text, 24, "%ld", *(const long *)(const void *)at);
	else if (k->type == KEY_BOOL)
		return *(const bool *)(const void *)at ? "yes" : "no";
	else if (is_secret(k) && has_password(c))
		return "(hidden)";
	else
		return *(char *const *)(const void *)at;
	return text;
}

static void
exchange(struct config *c, struct config *fresh, const struct key *k)
{
	size_t size = k->type == KEY_TEXT ? sizeof(char *)
	    : k->type == KEY_NUMBER	  ? sizeof(long)
					  : sizeof(bool);
	char kept[sizeof(long) > sizeof(char *) ? sizeof(long) : sizeof(char *)];

	memcpy(kept, (char *)c + k->offset, size);
	memcpy((char *)c + k->offset, (char *)fresh + k->offset, size);
	memcpy((char *)fresh + k->offset, kept, size);
}

static bool
is_same(const struct config *a, const struct config *b, const struct key *k)
{
	const char *x = (const char *)a + k->offset, *y = (const char *)b + k->offset;

	if (k->type == KEY_TEXT)
		return strcmp(*(char *const *)(const void *)x, *(char *const *)(const void *)y) ==
		    0;
	return memcmp(x, y, k->type == KEY_NUMBER ? sizeof(long) : sizeof(bool)) == 0;
}

void
config_take(struct config *c, struct config *fresh, const char *const *live, size_t count,
    config_changed *told, void *ctx)
{
	char name[100], before[24], after[24];

	for (size_t i = 0; i < KEYS; i++) {
		bool is_live = false;

		if (is_same(c, fresh, &keys[i]))
			continue;
		(void)snprintf(name, sizeof(name), "%s.%s", keys[i].section, keys[i].name);
		for (size_t k = 0; k < count && !is_live; k++)
			is_live = strcmp(live[k], name) == 0;
		told(ctx, name, value_text(c, &keys[i], before), value_text(fresh, &keys[i], after),
		    is_live);
		if (is_live)
			exchange(c, fresh, &keys[i]);
	}
}

void
config_print(const struct config *c, FILE *out)
{
	const char *section = "";
	char text[24];

	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(section, keys[i].section) != 0)
			fprintf(out, "[%s]\n", section = keys[i].section);
		fprintf(out, "%s = %s\n", keys[i].name, value_text(c, &keys[i], text));
	}
}
