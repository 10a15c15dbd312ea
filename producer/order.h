/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order: from candidates to send rows. PostgreSQL sorts the candidates that are left by their
 * place in the run; they are numbered here and copied into send_N page by page, each page in one
 * transaction with the cursor. Taken up again, it sorts once more (the order is total) and skips
 * what is there.
 */
#ifndef KAIRAN_ORDER_H
#define KAIRAN_ORDER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "db.h"
#include "err.h"

struct order_job {
	struct db *writer; /* outside any transaction */
	const struct config *config;
	int run;
	int64_t epoch; /* of the lease, for plan_fence */
	const atomic_bool *stop;
};

/* 0 when every row is written; 1 when stop was set; -1 with err (a lost connection, a fence:
 * job->writer->sqlstate tells; *reader_lost: the reading connection). */
int order_write(const struct order_job *job, bool *reader_lost, struct err *err) MUST_CHECK;

#endif
