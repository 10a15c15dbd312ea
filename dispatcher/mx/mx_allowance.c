/* SPDX-License-Identifier: Apache-2.0 */
/* mx_allowance: see mx_allowance.h. */
#include "mx_allowance.h"

#include <stdio.h>
#include <time.h>

#include "embed.h"

#define SOON_US 1000000 /* no connection is made for what comes later */

static void
read_rate(struct mx_allowance *a)
{
	a->per_s = a->limit != NULL
	    ? source_limit_rate(a->limit, slice_str(embed_common_data_warmup_tsv), time(NULL))
	    : 0;
}

static void
begin_lease(struct mx_lease *lease, struct mx_leases *leases, const char *what, const char *address)
{
	char name[SOURCE_LIMITS_ADDRESS + 32];
	int n = snprintf(name, sizeof(name), "source %s %s", what, address);

	mx_lease_begin(lease, leases, slice_make(name, (size_t)n), NULL);
}

void
mx_allowance_begin(struct mx_allowance *a, struct mx_leases *leases, struct dispatcher *d,
    const char *address, unsigned most, const struct source_limit *limit)
{
	*a = (struct mx_allowance){ .d = d, .most = most, .limit = limit };
	read_rate(a);
	if (most > 0)
		begin_lease(&a->connections, leases, "connections", address);
	if (limit != NULL)
		begin_lease(&a->rate, leases, "rate", address);
}

static unsigned
parts_of(const struct mx_allowance *a)
{
	return mx_lease_allows(&a->rate, SOURCE_LIMITS_PARTS);
}

uint64_t
mx_allowance_wait_us(struct mx_allowance *a)
{
	if (a->per_s <= 0)
		return 0;
	source_clock_run(&a->clock, dispatcher_now_us(), a->per_s, parts_of(a));
	return source_clock_wait(&a->clock, a->per_s);
}

bool
mx_allowance_may_open(struct mx_allowance *a)
{
	return (a->most == 0 || a->open < mx_lease_allows(&a->connections, a->most)) &&
	    mx_allowance_wait_us(a) < SOON_US;
}

bool
mx_allowance_may_send(struct mx_allowance *a)
{
	return (a->most == 0 || a->open <= mx_lease_allows(&a->connections, a->most)) &&
	    mx_allowance_wait_us(a) == 0;
}

void
mx_allowance_sent(struct mx_allowance *a)
{
	if (a->per_s > 0)
		source_clock_take(&a->clock);
}

void
mx_allowance_wish(struct mx_allowance *a, bool waiting)
{
	bool wanted = waiting || a->open > 0;

	if (a->most > 0)
		mx_lease_wish(&a->connections, a->most, a->open,
		    waiting		    ? a->most
			: a->open < a->most ? a->open
					    : a->most);
	if (a->limit == NULL)
		return;
	read_rate(a);
	(void)mx_allowance_wait_us(a); /* before its part changes */
	mx_lease_wish(&a->rate, SOURCE_LIMITS_PARTS, wanted ? parts_of(a) : 0,
	    wanted ? SOURCE_LIMITS_PARTS : 0);
}
