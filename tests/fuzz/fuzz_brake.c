/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines about brakes as they stand in Redis and PostgreSQL: what is understood is printed and
 * understood again, and a brake that came in lives on without a rate that is none. The first byte
 * chooses between a brake and a report of what was heard, and what happens to the brake then.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "brake_report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
same_again(const struct brake *b)
{
	char text[BRAKE_TEXT_MAX], again[BRAKE_TEXT_MAX];
	struct brake back;

	brake_print(b, text);
	if (strlen(text) + 1 >= sizeof(text) || !brake_parse(&back, text))
		abort();
	brake_print(&back, again);
	if (strcmp(text, again) != 0)
		abort();
}

static void
live(struct brake *b, const struct brake_event *e, bool of_account)
{
	const struct brake_terms terms = { .cap_per_s = of_account ? 14 : 0,
		.start_per_s = 5,
		.connections = 8,
		.batch = 100,
		.is_account = of_account };
	double now = 86400e6 * 300;
	struct admission_row row;

	for (int i = 0; i < 20; i++, now += 37e6) {
		if (i % 5 == 0)
			(void)!brake_hear(b, &terms, e, now, 0.5);
		(void)!brake_count(b, now, 3);
		(void)!brake_tick(b, &terms, now);
		if (!isfinite(b->rate) || b->rate < 0)
			abort();
		if (brake_rows(b, terms.cap_per_s, now, now + 1e6, &row) == 1 &&
		    !(row.interval > 0))
			abort();
		(void)brake_is_idle(b, now);
	}
	brake_release(b);
	if (brake_is_limiting(b))
		abort();
}

static void
read_report(const char *text, size_t len)
{
	char once[BRAKE_REPORT_MAX], twice[BRAKE_REPORT_MAX];
	struct brake_report r, back;
	struct brake b = { 0 };

	if (!brake_report_parse(&r, text, len))
		return;
	brake_report_print(&r, once);
	if (!brake_report_parse(&back, once, strlen(once)))
		abort();
	brake_report_print(&back, twice);
	if (strcmp(once, twice) != 0)
		abort();
	live(&b, &r.event, r.answers % 2 == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct brake_event e = { .reaction = REACTION_RATE, .count = 2, .code = 421 };
	char text[1024];
	struct brake b;

	if (size < 1 || size > sizeof(text))
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (data[0] % 2 == 1) {
		read_report(text, size - 1);
		return 0;
	}
	if (!brake_parse(&b, text))
		return 0;
	same_again(&b);
	e.reaction = (enum reaction)(data[0] / 2 % (REACTION_ACCOUNT_HOLD + 1));
	live(&b, &e, data[0] >= 128);
	return 0;
}
