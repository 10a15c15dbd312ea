/* SPDX-License-Identifier: Apache-2.0 */
/* warm: see warm.h. */
#include "warm.h"

#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "warmup.h"

static double
number_of(const PGresult *r, int column)
{
	return strtod(db_text(r, 0, column), NULL);
}

static const char *
why_held(enum warmup_verdict verdict, const struct warmup_rates *rates, char *text, size_t size)
{
	text[0] = '\0';
	if (verdict == WARMUP_BOUNCES)
		(void)snprintf(text, size, "bounce rate %.2f %% is above %.2f %%",
		    rates->hard / rates->attempted * 100, WARMUP_BOUNCE_LINE);
	else if (verdict == WARMUP_COMPLAINTS)
		(void)snprintf(text, size, "complaint rate %.3f %% is above %.3f %%",
		    rates->complained / rates->sent * 100, WARMUP_COMPLAINT_LINE);
	return text;
}

int
warm_round(struct db *db)
{
	PGresult *r = db_query(db,
	    "SELECT extract(epoch FROM day_began), extract(epoch FROM now()), attempted, hard, "
	    "sent, complained, held, schedule, day FROM kairan.warmup, kairan.warmup_rates()",
	    0, NULL);
	struct warmup_rates rates;
	enum warmup_verdict verdict;
	char text[100];
	const char *held = text;
	int result = 0;

	if (r == NULL)
		return -1;
	if (PQntuples(r) == 0) {
		PQclear(r);
		return 0;
	}
	rates = (struct warmup_rates){ number_of(r, 2), number_of(r, 3), number_of(r, 4),
		number_of(r, 5) };
	verdict = warmup_judge(number_of(r, 0), number_of(r, 1), &rates);
	(void)why_held(verdict, &rates, text, sizeof(text));
	if (verdict == WARMUP_ADVANCE) {
		log_info("warm-up goes on schedule=%s day=%d", db_text(r, 0, 7),
		    (int)db_number(r, 0, 8) + 1);
		result = db_run(db,
		    "UPDATE kairan.warmup SET day = day + 1, day_began = now(), held = ''", 0,
		    NULL);
	} else if (verdict != WARMUP_WAIT) {
		if (db_text(r, 0, 6)[0] == '\0')
			log_warn("warm-up is held schedule=%s day=%s why=\"%s\"", db_text(r, 0, 7),
			    db_text(r, 0, 8), text);
		result = db_run(db, "UPDATE kairan.warmup SET held = $1", 1, &held);
	}
	PQclear(r);
	return result;
}
