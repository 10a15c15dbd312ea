/* SPDX-License-Identifier: Apache-2.0 */
/* lease: see lease.h. */
#include "lease.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <unistd.h>

void
lease_init(struct lease *l, const char *name)
{
	unsigned char random[4] = { 0 };
	char host[64] = "";

	(void)gethostname(host, sizeof(host) - 1);
	(void)RAND_bytes(random, sizeof(random));
	*l = (struct lease){ .name = name };
	(void)snprintf(l->holder, sizeof(l->holder), "%s:%ld:%02x%02x%02x%02x", host,
	    (long)getpid(), random[0], random[1], random[2], random[3]);
}

int
lease_hold(struct lease *l, struct db *db)
{
	const char *params[] = { l->name, l->holder };
	PGresult *r = db_query(db,
	    "INSERT INTO kairan.lease AS l (name, holder, epoch, expires_at) "
	    "VALUES ($1, $2, 1, now() + interval '15 s') "
	    "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = "
	    "excluded.expires_at, "
	    "epoch = l.epoch + (l.holder <> excluded.holder)::int "
	    "WHERE l.holder = excluded.holder OR l.expires_at < now() RETURNING epoch",
	    2, params);

	if (r == NULL)
		return -1;
	l->epoch = db_int(r, 0);
	PQclear(r);
	return l->epoch > 0;
}

void
lease_drop(struct lease *l, struct db *db)
{
	const char *params[] = { l->name, l->holder };

	/* should it fail, the lease runs out by itself */
	if (l->epoch > 0 &&
	    db_run(db,
		"UPDATE kairan.lease SET expires_at = now() - interval '1 s' WHERE name = $1 "
		"AND holder = $2",
		2, params) < 0)
		return;
	l->epoch = 0;
}
