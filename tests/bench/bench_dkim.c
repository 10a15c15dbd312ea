/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_dkim: how many messages of 10 KB are signed per second of a core's time, with one signer
 * shared by as many threads as asked for: hashing, canonical forms, folding and all.
 * Arguments: rsa|ed25519, threads, seconds. Prints the rate per core, a bare number.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dkim.h"

#define MESSAGE_BYTES 10000
#define THREADS_MAX 256

struct worker {
	pthread_t thread;
	const struct dkim *dkim;
	struct slice message;
	double seconds;
	size_t signatures;
	double spent; /* of this thread's processor time */
	struct err err;
};

static double
now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *
work(void *ctx)
{
	struct worker *w = ctx;
	const struct dkim_options options = { .now_s = 1795300000, .lifetime_s = 604800 };
	double end = now(CLOCK_MONOTONIC) + w->seconds;
	struct buf message;

	buf_init(&message, (size_t)1 << 20);
	do {
		buf_reset(&message);
		buf_append_slice(&message, w->message);
		if (dkim_sign(w->dkim, &options, &message, &w->err) != 0)
			break;
		w->signatures++;
	} while (now(CLOCK_MONOTONIC) < end);
	buf_release(&message);
	w->spent = now(CLOCK_THREAD_CPUTIME_ID);
	return NULL;
}

static void
fill(struct buf *message)
{
	buf_append_str(message,
	    "Date: Sat, 21 Nov 2026 10:11:12 +0900\r\nFrom: Shop <news@example.jp>\r\n"
	    "To: taro@example.jp\r\nSubject: The sale begins\r\nMessage-ID: <abc@example.jp>\r\n"
	    "List-Unsubscribe: <https://u.example.jp/u/abcdefghijklmnopqrstuvwxyz234567>\r\n"
	    "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: text/html; charset=UTF-8\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
	while (message->len < MESSAGE_BYTES)
		buf_append_str(message,
		    "<p style=3D\"font:16px sans-serif\">The summer sale begins on Monday, =\r\n");
}

static struct dkim *
make_signer(enum dkim_algorithm algorithm, struct err *err)
{
	struct dkim *dkim = dkim_new();
	struct dkim_key *key;
	struct buf pem;

	buf_init(&pem, DKIM_PEM_MAX);
	if (dkim == NULL || dkim_key_generate(algorithm, &pem, err) != 0 ||
	    dkim_key_parse(
		&key, buf_slice(&pem), SLICE("example.jp"), SLICE("s1"), SLICE(""), err) != 0 ||
	    dkim_add(dkim, key, err) != 0) {
		dkim_free(dkim);
		dkim = NULL;
	}
	buf_release(&pem);
	return dkim;
}

int
main(int argc, char **argv)
{
	static struct worker workers[THREADS_MAX];
	long threads = argc > 2 ? strtol(argv[2], NULL, 10) : 1;
	enum dkim_algorithm algorithm =
	    argc > 1 && strcmp(argv[1], "ed25519") == 0 ? DKIM_ED25519 : DKIM_RSA;
	struct err err = { 0 };
	struct dkim *dkim = make_signer(algorithm, &err);
	struct buf message;
	double rate = 0;

	if (dkim == NULL || threads < 1 || threads > THREADS_MAX) {
		fprintf(stderr, "bench_dkim: %s\n", err.msg);
		return 1;
	}
	buf_init(&message, (size_t)1 << 20);
	fill(&message);
	for (long i = 0; i < threads; i++) {
		workers[i] = (struct worker){ .dkim = dkim,
			.message = buf_slice(&message),
			.seconds = argc > 3 ? strtod(argv[3], NULL) : 2 };
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			return 1;
	}
	for (long i = 0; i < threads; i++) {
		(void)pthread_join(workers[i].thread, NULL);
		if (workers[i].err.msg[0] != '\0') {
			fprintf(stderr, "bench_dkim: %s\n", workers[i].err.msg);
			return 1;
		}
		rate += (double)workers[i].signatures / workers[i].spent;
	}
	printf("%.1f\n", rate / (double)threads);
	buf_release(&message);
	dkim_free(dkim);
	return 0;
}
