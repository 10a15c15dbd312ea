/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail_worker: one delivery report of 2 kB, parsed in the contained process of kairan-feedback, against
 * the same in this process, in turn. One JSON line, microseconds a mail (median of rounds).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mail_intake.h"
#include "mail_worker.h"
#include "placeholders.h"

#define MAILS 2000
#define ROUNDS 9

static const char head[] =
    "Received: from mx.test by mta.test; Mon, 16 Nov 2026 10:00:00 +0000\n"
    "From: MAILER-DAEMON@mx.test\nTo: b+%B@bounce.test\nSubject: Undelivered Mail\n"
    "Message-ID: <1@mx.test>\nMIME-Version: 1.0\nContent-Type: multipart/report; "
    "report-type=delivery-status; boundary=\"x\"\n\n--x\nContent-Type: text/plain\n\n"
    "This is the mail system at host mx.test.\n\n<a@b.test>: host mx.b.test[192.0.2.1] said: 550 "
    "5.1.1 No such user (in reply to RCPT TO command)\n\n--x\n"
    "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.test\n\n"
    "Final-Recipient: rfc822; a@b.test\nAction: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx.b.test\n"
    "Diagnostic-Code: smtp; 550 5.1.1 No such user\n\n--x\nContent-Type: message/rfc822\n\n"
    "Subject: news\nX-Kairan-Id: %B\n\n";

static double
now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double
round_us(struct mail_worker *worker, const struct mail_intake_mail *mail, struct arena *arena)
{
	const struct mail_intake how = {
		.keys = &placeholder_keys, .bounce_domain = SLICE("bounce.test"), .worker = worker
	};
	double start = now_us();

	for (int i = 0; i < MAILS; i++) {
		struct feedback_events events;

		arena_reset(arena);
		if (mail_intake_read(&how, mail, arena, &events) != 0 || events.count != 1 ||
		    !events.items[0].linked)
			abort();
	}
	return (now_us() - start) / MAILS;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int
main(void)
{
	static char mail[sizeof(head) * 20 + 2048];
	struct err err = { 0 };
	struct mail_worker *worker = mail_worker_start(&err);
	double there[ROUNDS], here[ROUNDS];
	struct mail_intake_mail in = { 0 };
	struct arena arena;
	size_t n;

	if (worker == NULL) {
		(void)fprintf(stderr, "bench_mail_worker: %s\n", err.msg);
		return 1;
	}
	n = placeholders_fill(head, mail).len;
	for (int i = 0; i < 12; i++)
		n += (size_t)sprintf(
		    mail + n, "A line of the mail that was sent, as it came back %d.\n", i);
	n += (size_t)sprintf(mail + n, "\n--x--\n");
	in.raw = slice_make(mail, n);
	arena_init(&arena, MAIL_INTAKE_ARENA_MAX);
	for (size_t i = 0; i < ROUNDS; i++) {
		there[i] = round_us(worker, &in, &arena);
		here[i] = round_us(NULL, &in, &arena);
	}
	qsort(there, ROUNDS, sizeof(there[0]), by_value);
	qsort(here, ROUNDS, sizeof(here[0]), by_value);
	(void)printf(
	    "{\"bench\":\"mail_worker\",\"value\":%.1f,\"unit\":\"us/mail\",\"yardstick\":\"the "
	    "same in "
	    "the process\",\"yardstick_value\":%.1f,\"bytes\":%zu,\"mails\":%d,\"rounds\":%d}\n",
	    there[ROUNDS / 2], here[ROUNDS / 2], n, MAILS, ROUNDS);
	arena_release(&arena);
	mail_worker_free(worker);
	return 0;
}
