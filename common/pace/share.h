/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share: what each run gets of the limits that it shares with others. Urgent runs (single mails,
 * streams of kind transactional) have a part of each limit for themselves, so that they need not
 * wait for what others have reserved; triggered runs are served before bulk, which keeps a little;
 * inside a class runs divide by weight, and whoever can use less leaves the rest to the others.
 * Pure.
 */
#ifndef KAIRAN_SHARE_H
#define KAIRAN_SHARE_H

#include <stdbool.h>
#include <stddef.h>

#define SHARE_URGENT_MOST 0.5 /* of a limit, while others want it as well */
#define SHARE_BACKLOG_S 10    /* urgent mail that its part needs longer for gets the most */
#define SHARE_BULK_LEAST 0.2  /* of what urgent runs leave, while triggered ones want it all */

enum share_class { SHARE_URGENT, SHARE_TRIGGERED, SHARE_BULK };

struct share_run {
	const char *stream;
	double stream_per_s; /* of the whole stream, 0: no limit */
	enum share_class class;
	double weight;	/* above 0 */
	double backlog; /* messages to send; 0: it counts for nobody else */
	double most;	/* that it will use, 0: no limit */
	bool reserve;	/* urgent mail goes through its stream now and then */
	/* filled: */
	double per_s;	    /* 0: no limit */
	double urgent_part; /* of the stream's rate, for its urgent runs */
};

struct share_pool {
	double account_per_s;  /* 0: no limit */
	double part;	       /* of a limit, for urgent mail while others want it; 0: none */
	double others_most;    /* what runs that are not urgent may have together; 0: no limit */
	bool reserve;	       /* urgent mail goes out now and then */
	double account_urgent; /* filled: part of the account's rate, for urgent runs */
};

/* Fills in the pool and the runs. False without memory. */
bool share_out(struct share_pool *pool, struct share_run *runs, size_t count);

#endif
